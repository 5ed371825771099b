"""Acceptance by a network, which estimates for each candidate the probability that it shows a face.

The hits of the cascades and the network judge different properties, so both count: the fewer hits a candidate has, the
higher its probability must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.contract.preprocess import GreyImage, crop_face
from app.domain import Detection
from app.vision.detection.acceptance import share_of_enough_hits

# Hits as shares of those that would be enough without the network (`acceptance.py`).
_MIN_HITS = 0.1
_USUAL_HITS = 0.5
_FEW_HITS_PROBABILITY = 0.6  # smallest probability of a face with fewer than the usual hits


class FaceVerifier(Protocol):
    """Network that estimates whether crops show faces; `app.inference.face_verifier` is the implementation."""

    @property
    def threshold(self) -> float:
        """Smallest probability of a box that a detector returns."""

    def face_probability(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the probability of each crop, float32 (N,), of crops uint8 (N, 48, 48, 1). Thread-safe."""


class NetworkAcceptance:
    """Decision which candidates show a face. Thread-safe.

    Args:
        verifier: The network.
    """

    def __init__(self, verifier: FaceVerifier) -> None:
        self._verifier = verifier

    def __call__(self, image: GreyImage, candidates: Sequence[Detection]) -> list[Detection]:
        """Return the candidates that show a face, with the probability as their confidence, in the same order.

        Args:
            image: uint8 (H, W).
            candidates: Boxes that the cascades verified, with the number of hits as their confidence.
        """
        shares = share_of_enough_hits(image, candidates)
        judged = [(candidate, share) for candidate, share in zip(candidates, shares, strict=True) if share >= _MIN_HITS]
        if not judged:
            return []
        crops = [crop_face(image, candidate.box, candidate.roll_degrees or 0.0) for candidate, _ in judged]
        return [
            replace(candidate, confidence=probability)
            for (candidate, share), probability in zip(judged, self._probabilities(np.stack(crops)), strict=True)
            if probability >= self._min_probability(share)
        ]

    def _probabilities(self, crops: npt.NDArray[np.uint8]) -> list[float]:
        """Return the mean of the probabilities of each crop and of its mirror image: it is more exact than one alone."""
        both = self._verifier.face_probability(np.concatenate([crops, crops[:, :, ::-1]]))
        return both.reshape(2, len(crops)).mean(axis=0).tolist()

    def _min_probability(self, share_of_hits: float) -> float:
        threshold = self._verifier.threshold
        return threshold if share_of_hits >= _USUAL_HITS else max(threshold, _FEW_HITS_PROBABILITY)
