"""Geometry of face boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox

_SAME_FACE_OVERLAP = 0.3  # IoU at which two boxes show one face


class Square(NamedTuple):
    """A place where a face may be, in pixels of the full image. It may extend beyond the image.

    Attributes:
        left: Left edge of an upright square with the same centre and side.
        top: Top edge of that square.
        side: Side of the square.
        degrees: Angle by which the square is turned around its centre, positive clockwise.
    """

    left: float
    top: float
    side: float
    degrees: float = 0.0

    @property
    def centre(self) -> tuple[float, float]:
        """Return x and y of the centre."""
        return self.left + self.side / 2, self.top + self.side / 2


def square_around(x: float, y: float, side: float, degrees: float) -> Square:
    """Return a square with the given centre."""
    return Square(x - side / 2, y - side / 2, side, degrees)


def turned(x: float, y: float, degrees: float) -> tuple[float, float]:
    """Turn a vector clockwise, where y points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return cos * x - sin * y, sin * x + cos * y


def to_box(square: Square, image: GreyImage) -> FaceBox:
    """Round a square to whole pixels and move it into the image."""
    height, width = image.shape
    side_px = min(round(square.side), width, height)
    return FaceBox(
        min(max(round(square.left), 0), width - side_px),
        min(max(round(square.top), 0), height - side_px),
        side_px,
        side_px,
    )


def remove_overlapping(faces: Sequence[Detection]) -> list[Detection]:
    """Keep the first box of each face, in the same order (non-maximum suppression)."""
    kept: list[Detection] = []
    for face in faces:
        if all(face.box.overlap(other.box) < _SAME_FACE_OVERLAP for other in kept):
            kept.append(face)
    return kept


def sort_largest_first(faces: Sequence[Detection]) -> list[Detection]:
    """Sort by area, descending; faces with equal areas from top to bottom and from left to right."""
    return sorted(faces, key=lambda face: (-face.box.area_px, face.box.y, face.box.x))
