"""What the service asks of a model, so that tests can stand in for it. No implementation here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.contract.manifest import Manifest
from app.contract.preprocess import GreyImage


class Classifier(Protocol):
    """Scores crops. `classify` is called by one thread at a time."""

    @property
    def manifest(self) -> Manifest:
        """What the model is and where it comes from."""

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it: `CPUExecutionProvider`, `CUDAExecutionProvider`."""

    def classify(self, crops: Sequence[GreyImage]) -> Sequence[npt.NDArray[np.float32]]:
        """Logits of every crop; `app.contract.scores.probabilities` makes scores of them.

        Args:
            crops: N arrays, uint8 (48, 48, 1).

        Returns:
            N arrays, float32 (7,), in the order of the crops.
        """
