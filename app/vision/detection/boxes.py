"""Geometry of face boxes."""

from __future__ import annotations

from collections.abc import Sequence

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox

_SAME_FACE_OVERLAP = 0.3  # IoU at which two boxes show one face

# Left, top and side in pixels of the full image; may exceed the image.
Square = tuple[float, float, float]


def to_box(square: Square, image: GreyImage) -> FaceBox:
    """Round a square to whole pixels and move it into the image."""
    left, top, side = square
    height, width = image.shape
    side_px = min(round(side), width, height)
    return FaceBox(
        min(max(round(left), 0), width - side_px), min(max(round(top), 0), height - side_px), side_px, side_px
    )


def remove_duplicates(faces: Sequence[Detection]) -> list[Detection]:
    """Keep the box with the highest weight of each face (non-maximum suppression), sorted by weight."""
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -face.weight):
        if all(face.box.overlap(other.box) < _SAME_FACE_OVERLAP for other in kept):
            kept.append(face)
    return kept


def sort_largest_first(faces: Sequence[Detection]) -> list[Detection]:
    """Sort by area, descending; faces with equal areas from top to bottom and from left to right."""
    return sorted(faces, key=lambda face: (-face.box.area_px, face.box.y, face.box.x))
