"""Manifest of the face verifier: the network that estimates whether a crop shows a face.

The sidecar `<name>.manifest.json` of the ONNX file has the same form and checks as that of an emotion model; the two
networks have different contracts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contract.manifest import ManifestError, manifest_path
from app.contract.preprocess import PREPROCESS_ID


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Calibration(_Strict):
    """Conversion of a logit into a probability: the logistic function of `scale * logit + offset` (Platt scaling)."""

    scale: float = Field(gt=0)
    offset: float

    def probability(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return probabilities, float32, of logits of any shape."""
        scaled = self.scale * np.asarray(logits, dtype=np.float64) + self.offset
        return np.asarray(1 / (1 + np.exp(-scaled.clip(-60, 60))), dtype=np.float32)


class VerifierManifest(_Strict):
    """Content of the sidecar file of a face verifier."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: str = Field(pattern=r"^\d{4}\.\d{1,2}\.\d+$", description="year.month.number")
    preprocess_id: str
    calibration: Calibration
    threshold: float = Field(gt=0, lt=1, description="smallest probability of a face, unless a request names another")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    provenance: dict[str, Any] = Field(description="commit, config, data, packages, hardware")
    metrics: dict[str, float] = Field(default_factory=dict, description="on data that the network was not trained on")


def load_verifier_manifest(model_path: Path) -> VerifierManifest:
    """Read the manifest of a face verifier, and verify the hash of the file and its preprocessing.

    Raises:
        ManifestError: A file is missing or damaged, the hash differs, or the preprocessing is of another version.
    """
    sidecar = manifest_path(model_path)
    try:
        actual = hashlib.sha256(model_path.read_bytes()).hexdigest()
        manifest = VerifierManifest.model_validate_json(sidecar.read_bytes())
    except OSError as error:
        raise ManifestError(f"{error.filename} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise ManifestError(f"manifest {sidecar} is not valid: {place}: {first['msg']}") from error
    if actual != manifest.sha256:
        raise ManifestError(f"{model_path}: expected sha256 {manifest.sha256} (in the manifest). Received: {actual}")
    if manifest.preprocess_id != PREPROCESS_ID:
        raise ManifestError(f"{sidecar}: expected preprocess_id {PREPROCESS_ID}. Received: {manifest.preprocess_id}")
    return manifest
