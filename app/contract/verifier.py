"""Manifest of the face verifier: the network that estimates whether a crop shows a face.

The sidecar `<name>.manifest.json` of the ONNX file has the same form and checks as that of an emotion model; the two
networks have different contracts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from app.contract.preprocess import PREPROCESS_ID
from app.contract.sidecar import HashedSidecar, ManifestError, Strict, manifest_path, read_sidecar


class Calibration(Strict):
    """Conversion of a logit into a probability: the logistic function of `scale * logit + offset` (Platt scaling)."""

    scale: float = Field(gt=0)
    offset: float

    def probability(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return probabilities, float32, of logits of any shape."""
        scaled = self.scale * np.asarray(logits, dtype=np.float64) + self.offset
        return np.asarray(1 / (1 + np.exp(-scaled.clip(-60, 60))), dtype=np.float32)


class VerifierManifest(HashedSidecar):
    """Content of the sidecar file of a face verifier."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: str = Field(pattern=r"^\d{4}\.\d{1,2}\.\d+$", description="year.month.number")
    preprocess_id: str
    calibration: Calibration
    threshold: float = Field(gt=0, lt=1, description="smallest probability of a face, unless a request names another")
    provenance: dict[str, Any] = Field(description="commit, config, data, packages, hardware")
    metrics: dict[str, float] = Field(default_factory=dict, description="on data that the network was not trained on")


def load_verifier_manifest(model_path: Path) -> VerifierManifest:
    """Read the manifest of a face verifier, and verify the hash of the file and its preprocessing.

    Raises:
        ManifestError: A file is missing or damaged, the hash differs, or the preprocessing is of another version.
    """
    manifest = read_sidecar(model_path, VerifierManifest)
    if manifest.preprocess_id != PREPROCESS_ID:
        raise ManifestError(
            f"{manifest_path(model_path)}: expected preprocess_id {PREPROCESS_ID}. Received: {manifest.preprocess_id}"
        )
    return manifest
