"""Acceptance: the decision which of the verified boxes show a face. It is the only place of this decision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from app.contract.preprocess import GreyImage
from app.domain import Detection
from app.vision.detection.pyramid import mean_side

# Decides for the boxes of one image, uint8 (H, W).
Acceptance = Callable[[GreyImage, Sequence[Detection]], list[Detection]]

# A large box is seldom false: an image has few places of its size.
_LARGE_SHARE = 0.12  # side of a box, as a share of the image's mean side
_ENOUGH_HITS_LARGE = 16
_ENOUGH_HITS_SMALL = 27
# A place has many rolls at which it may look like a face, so turned boxes need more hits.
_ENOUGH_HITS_LARGE_TURNED = 25
_ENOUGH_HITS_SMALL_TURNED = 38
MAX_TURNED_SHARE = 0.7  # largest turned face: the corners of a larger one would not fit into the image


def accept_by_hits(image: GreyImage, candidates: Sequence[Detection]) -> list[Detection]:
    """Return the candidates that have enough hits for their size and roll.

    Args:
        image: uint8 (H, W).
        candidates: Boxes that may show faces, with the number of hits of both cascades as their confidence.
    """
    return [
        candidate
        for candidate, share in zip(candidates, share_of_enough_hits(image, candidates), strict=True)
        if share >= 1
    ]


def share_of_enough_hits(image: GreyImage, candidates: Sequence[Detection]) -> list[float]:
    """Return the hits of each candidate as a share of the hits that are enough for its size and roll.

    Args:
        image: uint8 (H, W).
        candidates: Boxes that may show faces, with the number of hits of both cascades as their confidence.
    """
    side_px = mean_side(image)
    return [candidate.confidence / _enough_hits(candidate, side_px) for candidate in candidates]


def _enough_hits(candidate: Detection, image_side_px: float) -> float:
    share = candidate.box.width / image_side_px
    if candidate.roll_degrees is None:
        return _ENOUGH_HITS_LARGE if share >= _LARGE_SHARE else _ENOUGH_HITS_SMALL
    if share > MAX_TURNED_SHARE:
        return math.inf
    return _ENOUGH_HITS_LARGE_TURNED if share >= _LARGE_SHARE else _ENOUGH_HITS_SMALL_TURNED
