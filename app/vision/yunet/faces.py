"""Faces in an image, their geometry, and duplicates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.contract.preprocess import FACE_BOX_SCALE
from app.domain import Detection, FaceBox, Point
from app.vision.yunet.framing import Floats

# Distance of the centres, as a share of the larger side, below which two boxes show one face.
_SAME_FACE_DISTANCE = 0.4


@dataclass(frozen=True, slots=True)
class Face:
    """A face in the pixels of an image or of a view.

    Attributes:
        centre: Centre (x, y).
        side: Side of the square with the framing of FER2013.
        roll: Angle in radians, clockwise.
        landmarks: Five points (x, y), in the order of `Detection.landmarks`; float64 (5, 2).
        score: Certainty of the network, 0 to 1.
    """

    centre: Floats
    side: float
    roll: float
    landmarks: Floats
    score: float

    def moved(self, matrix: Floats) -> Face:
        """Return the face in other pixels.

        Args:
            matrix: float64 (2, 3), a turn, a scale and a shift.
        """
        linear, shift = matrix[:, :2], matrix[:, 2]
        scale, angle = math.hypot(*linear[:, 0]), math.atan2(linear[1, 0], linear[0, 0])
        return Face(
            linear @ self.centre + shift,
            self.side * scale,
            math.remainder(self.roll + angle, math.tau),
            self.landmarks @ linear.T + shift,
            self.score,
        )

    def is_duplicate_of(self, other: Face) -> bool:
        """Return whether both boxes show the same face."""
        return math.dist(self.centre, other.centre) < _SAME_FACE_DISTANCE * max(self.side, other.side)

    def to_detection(self, width: int, height: int) -> Detection:
        """Return the face in whole pixels, its box inside the image.

        Args:
            width: Width of the image.
            height: Height of the image.
        """
        side = max(1, min(round(self.side / FACE_BOX_SCALE), width, height))
        left, top = (round(float(value) - side / 2) for value in self.centre)
        box = FaceBox(min(max(left, 0), width - side), min(max(top, 0), height - side), side, side)
        points = tuple(Point(float(x), float(y)) for x, y in self.landmarks)
        return Detection(box, self.score, math.degrees(self.roll), points)


def remove_duplicates(faces: Iterable[Face]) -> list[Face]:
    """Keep the face with the highest score of each group of duplicates, sorted by score."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(face.is_duplicate_of(other) for other in kept):
            kept.append(face)
    return kept


def without_known(faces: Iterable[Face], known: Sequence[Face]) -> list[Face]:
    """Return the faces that are not duplicates of a known face."""
    return [face for face in faces if not any(face.is_duplicate_of(other) for other in known)]
