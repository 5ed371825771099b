"""Verification: an accurate search around each proposal.

The Haar cascade searches the surroundings of a proposal, scaled so that the face has one size everywhere, in fine steps
of size. This removes false proposals, and its boxes are better centred and sized than those of a whole-image search,
which matters for classification (`python -m benchmarks.end_to_end` measures it). Faces with a low weight need the
agreement of another cascade (second stage).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from app.contract.preprocess import GreyImage
from app.domain import Detection
from app.vision.detection.boxes import Square, remove_duplicates, to_box
from app.vision.detection.cascades import HAAR_WINDOW_PX, Cascades
from app.vision.detection.pyramid import ImagePyramid, resized, with_usual_contrast

_FACE_PX = 48  # side of a proposal in the scaled region
_STEP = 1.07  # ratio of successive face sizes
_MIN_NEIGHBORS = 4
_MARGIN = 0.3  # around the proposal, as a share of its side
_SIZE_RANGE = (0.75, 1.35)  # sides searched, as shares of the proposal's side

_CERTAIN_WEIGHT = 55.1  # 2 % of faces and a quarter of false boxes have less
_SECOND_STAGE_MARGIN = 0.2
_SECOND_STAGE_SIZE_RANGE = (0.7, 1.3)
_SECOND_STAGE_MIN_HITS = 4  # a face has dozens


def verify(
    cascades: Cascades, pyramid: ImagePyramid, proposals: Sequence[Square], margin: float = _MARGIN
) -> list[Detection]:
    """Search around each proposal.

    Args:
        cascades: Cascades of this thread.
        pyramid: The image.
        proposals: Places to search. Proposals outside the image are ignored.
        margin: Width of the surroundings, as a share of the proposal's side.

    Returns:
        Verified faces without duplicates, highest weight first.
    """
    faces = []
    for proposal in proposals:
        region = _Region.around(pyramid, proposal, margin)
        if region is None:
            continue
        min_size, max_size = region.sizes(_SIZE_RANGE)
        boxes, _, weights = cascades.haar.detectMultiScale3(
            region.pixels, _STEP, _MIN_NEIGHBORS, minSize=min_size, maxSize=max_size, outputRejectLevels=True
        )
        for box, weight in zip(boxes, weights, strict=True):
            face = region.to_image(box[0], box[1], box[2])
            if weight >= _CERTAIN_WEIGHT or _passes_second_stage(cascades.second_stage, pyramid, face):
                faces.append(Detection(to_box(face, pyramid.image), float(weight)))
    return remove_duplicates(faces)


def _passes_second_stage(cascade: cv2.CascadeClassifier, pyramid: ImagePyramid, face: Square) -> bool:
    region = _Region.around(pyramid, face, _SECOND_STAGE_MARGIN)
    if region is None:
        return False
    min_size, max_size = region.sizes(_SECOND_STAGE_SIZE_RANGE)
    hits = cascade.detectMultiScale(region.pixels, _STEP, 0, minSize=min_size, maxSize=max_size)
    return len(hits) >= _SECOND_STAGE_MIN_HITS


@dataclass(frozen=True, slots=True)
class _Region:
    """Surroundings of a square, scaled so that the square's side is `_FACE_PX` (never enlarged).

    Attributes:
        pixels: uint8 (h, w).
        left: Left edge in pixels of the image.
        top: Top edge in pixels of the image.
        scale: Pixels of the region per pixel of the image.
        side_px: Side of the square in pixels of the region.
    """

    pixels: GreyImage
    left: float
    top: float
    scale: float
    side_px: float

    @classmethod
    def around(cls, pyramid: ImagePyramid, square: Square, margin_share: float) -> _Region | None:
        """Cut out a square with a margin. Return None if the square is outside the image."""
        x, y, side = square
        scale = min(1.0, _FACE_PX / side)
        level, level_scale = pyramid.level(scale)
        margin = side * margin_share
        left, top = max(0, round((x - margin) * level_scale)), max(0, round((y - margin) * level_scale))
        right, bottom = round((x + side + margin) * level_scale), round((y + side + margin) * level_scale)
        pixels = level[top:bottom, left:right]
        if not pixels.size:
            return None
        scaled = with_usual_contrast(resized(pixels, scale / level_scale))
        return cls(scaled, left / level_scale, top / level_scale, scale, side * scale)

    def sizes(self, shares: tuple[float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the smallest and the largest (width, height) to search, from shares of the square's side."""
        smallest, largest = (round(self.side_px * share) for share in shares)
        return (max(HAAR_WINDOW_PX, smallest),) * 2, (largest,) * 2

    def to_image(self, x: float, y: float, side: float) -> Square:
        """Convert a square of the region to pixels of the image."""
        return self.left + x / self.scale, self.top + y / self.scale, side / self.scale
