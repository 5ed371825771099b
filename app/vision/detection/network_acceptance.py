"""Acceptance by a network, which estimates for each candidate the probability that it shows a face.

The network decides which candidates are faces. Candidates with very few hits are dropped before, because there are many
of them and the network would accept some by mistake.
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

_MIN_SHARE_OF_HITS = 0.1  # of the hits that would be enough without the network


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
        judged = [each for each, share in zip(candidates, shares, strict=True) if share >= _MIN_SHARE_OF_HITS]
        if not judged:
            return []
        crops = [crop_face(image, candidate.box, candidate.roll_degrees or 0.0) for candidate in judged]
        return [
            replace(candidate, confidence=probability)
            for candidate, probability in zip(judged, self._probabilities(np.stack(crops)), strict=True)
            if probability >= self._verifier.threshold
        ]

    def _probabilities(self, crops: npt.NDArray[np.uint8]) -> list[float]:
        """Return the mean of the probabilities of each crop and of its mirror image, which is more exact than one."""
        both = self._verifier.face_probability(np.concatenate([crops, crops[:, :, ::-1]]))
        means: list[float] = both.reshape(2, len(crops)).mean(axis=0).tolist()
        return means
