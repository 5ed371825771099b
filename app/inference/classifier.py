"""Interface of a model to the rest of the service. Tests implement it with a fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.contract.manifest import Manifest
from app.contract.preprocess import GreyImage


class Classifier(Protocol):
    """Model that classifies face crops. Only one thread at a time calls `classify`."""

    @property
    def manifest(self) -> Manifest:
        """Identity, contract and metrics of the model."""

    @property
    def provider(self) -> str:
        """Execution provider in use, by ONNX Runtime's name: `CPUExecutionProvider` or `CUDAExecutionProvider`."""

    def classify(self, crops: Sequence[GreyImage]) -> Sequence[npt.NDArray[np.float32]]:
        """Return the logits of each crop; `app.contract.scores.probabilities` converts them to scores.

        Args:
            crops: N arrays, uint8 (48, 48, 1).

        Returns:
            N arrays, float32 (7,), in the order of the crops.
        """
