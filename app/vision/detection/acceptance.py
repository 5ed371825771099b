"""Acceptance: the decision which candidates show a face. It is the only place of this decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.contract.preprocess import GreyImage, crop_face
from app.domain import Detection
from app.vision.detection.boxes import Square, remove_overlapping, to_box
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import Candidate

# Places with fewer hits are dropped: there are many, and the network would accept some by mistake. A place has many
# rolls at which it may look like a face, so a turned one needs more.
_MIN_HITS = 3
_MIN_HITS_TURNED = 8
_LIKELY = 0.5  # probability of a face; callers seldom ask for less
_JUDGED_PX = 192  # smallest side of the box that a crop for the network is made from


class FaceVerifier(Protocol):
    """Network that estimates whether crops show faces; `app.inference.face_verifier` is the implementation."""

    @property
    def threshold(self) -> float:
        """Smallest probability of a box that a detector returns."""

    def face_probability(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the probability of each crop, float32 (N,), of crops uint8 (N, 48, 48, 1). Thread-safe."""


def accept(verifier: FaceVerifier, pyramid: ImagePyramid, candidates: Sequence[Candidate]) -> list[Detection]:
    """Return one box for each face, with the probability as its confidence.

    Of overlapping candidates that are likely faces, the one with the most hits is returned, because it is framed best.

    Args:
        verifier: The network that decides.
        pyramid: The image.
        candidates: Places that may show faces.
    """
    judged = judge(verifier, pyramid, candidates)
    likely = [(hits, face) for hits, face in judged if face.confidence >= verifier.threshold]
    likely.sort(key=lambda pair: (pair[1].confidence >= _LIKELY, pair[0]), reverse=True)
    return remove_overlapping([face for _, face in likely])


def judge(
    verifier: FaceVerifier, pyramid: ImagePyramid, candidates: Sequence[Candidate]
) -> list[tuple[int, Detection]]:
    """Return the hits and the box of each candidate with enough hits, with its probability as the confidence."""
    places = [place for place in candidates if place.hits >= (_MIN_HITS_TURNED if place.square.degrees else _MIN_HITS)]
    if not places:
        return []
    probabilities = _probabilities(verifier, np.stack([_crop(pyramid, place.square) for place in places]))
    return [
        (place.hits, Detection(to_box(place.square, pyramid.image), probability, place.square.degrees or None))
        for place, probability in zip(places, probabilities, strict=True)
    ]


def _crop(pyramid: ImagePyramid, square: Square) -> GreyImage:
    """Return the crop of a place. A large place is cropped from a downscaled copy, which is much faster."""
    level, scale = pyramid.level(min(1.0, _JUDGED_PX / square.side))
    left, top, side = (value * scale for value in square[:3])
    return crop_face(level, to_box(Square(left, top, side), level), square.degrees)


def _probabilities(verifier: FaceVerifier, crops: npt.NDArray[np.uint8]) -> list[float]:
    """Return the mean of the probabilities of each crop and of its mirror image, which is more exact than one."""
    both = verifier.face_probability(np.concatenate([crops, crops[:, :, ::-1]]))
    means: list[float] = both.reshape(2, len(crops)).mean(axis=0).tolist()
    return means
