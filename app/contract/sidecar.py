"""Files beside an ONNX file, whatever its network: the manifest with the hash of the file, and the golden vectors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ManifestError(Exception):
    """A model file does not match its manifest or this service. The message names the file and the difference."""


class Strict(BaseModel):
    """Part of a manifest. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HashedSidecar(Strict):
    """Sidecar file of an ONNX file, whatever the network."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


Sidecar = TypeVar("Sidecar", bound=HashedSidecar)


def manifest_path(model_path: Path) -> Path:
    """Return the path of the sidecar file beside an ONNX file."""
    return model_path.with_suffix(".manifest.json")


def golden_path(model_path: Path) -> Path:
    """Return the path of the golden vectors: `crops` uint8 (N, 48, 48, 1) and their `logits` float32 (N, 7)."""
    return model_path.with_suffix(".golden.npz")


def read_sidecar(model_path: Path, schema: type[Sidecar]) -> Sidecar:
    """Read the manifest of an ONNX file, and verify the hash of the file.

    Args:
        model_path: ONNX file.
        schema: Type of the manifest.

    Raises:
        ManifestError: A file is missing or damaged, or the hash differs.
    """
    if not model_path.is_file():
        raise ManifestError(f"model file {model_path} does not exist")
    sidecar = manifest_path(model_path)
    try:
        manifest = schema.model_validate_json(sidecar.read_bytes())
    except OSError as error:
        raise ManifestError(f"manifest {sidecar} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ManifestError(f"manifest {sidecar} is not valid: {first_problem(error)}") from error
    actual = hashlib.sha256(model_path.read_bytes()).hexdigest()
    if actual != manifest.sha256:
        raise ManifestError(f"{model_path}: expected sha256 {manifest.sha256} (in the manifest). Received: {actual}")
    return manifest


def first_problem(error: ValidationError) -> str:
    """Return the place and the message of the first problem."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'document'}: {first['msg']}"
