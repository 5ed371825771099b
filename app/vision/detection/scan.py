"""Scan: the face verifier judges places that the cascades proposed and rejected, and their surroundings.

A face that is tilted, partly turned or covered has few hits of the cascades, often none. The network accepts it at most
positions and sizes near its place. At a place without a face, it accepts single crops at most. So the mean of its
probability over the surroundings decides, and the positions with a high probability give the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from app.contract.preprocess import CROP_SIZE_PX, crop_face
from app.domain import Detection
from app.vision.detection.boxes import Square, remove_duplicates, square_around, to_box, turned
from app.vision.detection.network_acceptance import FaceVerifier
from app.vision.detection.pyramid import ImagePyramid

# Offsets and sizes of the surroundings, as shares of the side of the place.
_OFFSETS = (0.0, -0.12, 0.12)
_SIZES = (1.0, 0.85, 1.18)
_SURROUNDINGS = np.array([(x, y, size) for size, x, y in product(_SIZES, _OFFSETS, _OFFSETS)])

_MIN_PROBABILITY = 0.05  # of the place itself: with less, its surroundings are not searched
_MIN_MEAN_PROBABILITY = 0.1  # of the surroundings of the first place: with less, no better place is tried
_MAX_PLACES = 8  # the most probable ones; bounds the time
_MIN_CONFIDENCE = 0.5
# The confidence is a logistic function of the mean probability: 0.5 at the middle. A place that no cascade proposed, or
# with one of many rolls, is more often like a face by chance, so its mean must be higher.
_GAIN = 12.0
_MIDDLE = 0.51
_MIDDLE_UNPROPOSED = 0.56
_MIDDLE_TURNED = 0.62
_MAX_DEGREES = 40.0  # places with a larger roll are not searched: among them, false faces are as many as true ones

# Places of large faces in an image: sides as shares of the mean side, and the distance as a share of the side.
_LARGE_SHARES = (0.33, 0.46, 0.65)
_LARGE_DISTANCE = 0.25


class NetworkScan:
    """Search of the surroundings of places with the face verifier. Thread-safe.

    Args:
        verifier: The network.
    """

    def __init__(self, verifier: FaceVerifier) -> None:
        self._verifier = verifier

    def __call__(self, pyramid: ImagePyramid, places: Sequence[Square], is_proposed: bool) -> list[Detection]:
        """Return the faces at some places, without duplicates.

        Args:
            pyramid: The image.
            places: Places that may show a face, perhaps turned.
            is_proposed: True if a cascade proposed the places.
        """
        places = [place for place in places if abs(place.degrees) <= _MAX_DEGREES]
        if not places:
            return []
        probabilities = self._probabilities(pyramid, places)
        order = np.argsort(-probabilities, kind="stable")[:_MAX_PLACES]
        faces = [
            self._face_near(pyramid, places[index], is_proposed)
            for index in order
            if probabilities[index] >= _MIN_PROBABILITY
        ]
        return remove_duplicates([face for face in faces if face is not None])

    def _face_near(self, pyramid: ImagePyramid, place: Square, is_proposed: bool) -> Detection | None:
        probabilities = self._probabilities(pyramid, _surroundings(place))
        if probabilities.mean() < _MIN_MEAN_PROBABILITY:
            return None
        # Twice, because the place of a cascade may be half a face away.
        for _ in range(2):
            place = _weighted_place(place, probabilities)
            probabilities = self._probabilities(pyramid, _surroundings(place))
        middle = _MIDDLE_TURNED if place.degrees else _MIDDLE if is_proposed else _MIDDLE_UNPROPOSED
        confidence = float(1 / (1 + np.exp(-_GAIN * (probabilities.mean() - middle))))
        if confidence < _MIN_CONFIDENCE:
            return None
        return Detection(to_box(place, pyramid.image), confidence, place.degrees or None)

    def _probabilities(self, pyramid: ImagePyramid, places: Sequence[Square]) -> npt.NDArray[np.float32]:
        """Return the probability of a face at each place, float32 (N,)."""
        crops = []
        for place in places:
            level, scale = pyramid.level(min(1.0, CROP_SIZE_PX / place.side))
            scaled = Square(place.left * scale, place.top * scale, place.side * scale)
            crops.append(crop_face(level, to_box(scaled, level), place.degrees))
        return self._verifier.face_probability(np.stack(crops))


def large_places(pyramid: ImagePyramid) -> list[Square]:
    """Return upright places that cover an image, for a large face that no cascade proposes."""
    height, width = pyramid.image.shape
    places = []
    for share in _LARGE_SHARES:
        side = min(share * pyramid.mean_side_px, width, height)
        lefts = np.linspace(0, width - side, 1 + round((width - side) / (_LARGE_DISTANCE * side)))
        tops = np.linspace(0, height - side, 1 + round((height - side) / (_LARGE_DISTANCE * side)))
        places += [Square(float(left), float(top), side) for top, left in product(tops, lefts)]
    return places


def _surroundings(place: Square) -> list[Square]:
    return [_moved(place, x, y, size) for x, y, size in _SURROUNDINGS]


def _moved(place: Square, across: float, down: float, size: float) -> Square:
    """Return a place, moved along its own axes by shares of its side and with another size."""
    x, y = place.centre
    right, below = turned(across * place.side, down * place.side, place.degrees)
    return square_around(x + right, y + below, place.side * size, place.degrees)


def _weighted_place(place: Square, probabilities: npt.NDArray[np.float32]) -> Square:
    """Return the mean of the surroundings of a place, weighted by their probability of a face."""
    across, down, size = np.average(_SURROUNDINGS, axis=0, weights=np.asarray(probabilities, dtype=np.float64) ** 2)
    return _moved(place, float(across), float(down), float(size))
