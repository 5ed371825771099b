"""Face verifier: a small network that estimates whether a crop shows a face.

`python -m training verifier` trains and exports it; docs/detection.md has its figures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contract.verifier import VerifierManifest, load_verifier_manifest
from app.inference.session import CPU_PROVIDER, GOLDEN_TOLERANCE, check_golden, open_session


class FaceVerifier:
    """Loaded, verified and self-tested face verifier. Thread-safe after construction.

    One run takes one core, because each vision thread verifies the faces of its own image.

    Args:
        model_path: ONNX file. Its manifest and golden vectors are in the same folder.

    Raises:
        ManifestError: The file, its manifest and this service do not match.
        SelfTestError: The network does not reproduce the results of its export.
    """

    def __init__(self, model_path: Path) -> None:
        self.manifest: VerifierManifest = load_verifier_manifest(model_path)
        self._session = open_session(model_path, "cpu", threads=1)
        check_golden(model_path, CPU_PROVIDER, self._logits, GOLDEN_TOLERANCE["float32"])

    @property
    def threshold(self) -> float:
        """Smallest probability of a face, unless a request names another."""
        return self.manifest.threshold

    def face_probability(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Estimate for each crop whether it shows a face.

        Args:
            crops: uint8 (N, 48, 48, 1), made by `app.contract.preprocess.crop_face`.

        Returns:
            float32 (N,), calibrated probabilities, 0 to 1.
        """
        if not len(crops):
            return np.empty(0, dtype=np.float32)
        return self.manifest.calibration.probability(self._logits(crops)[:, 0])

    def _logits(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        (logits,) = self._session.run(["logits"], {"image": crops})
        return np.asarray(logits, dtype=np.float32)
