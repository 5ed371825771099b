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
_MIN_HITS_LARGE = 16
_MIN_HITS_SMALL = 27
# A place has many rolls at which it may look like a face, so turned boxes need more hits.
_MIN_HITS_LARGE_TURNED = 25
_MIN_HITS_SMALL_TURNED = 38
MAX_TURNED_SHARE = 0.7  # largest turned face: the corners of a larger one would not fit into the image


def accept_by_hits(image: GreyImage, candidates: Sequence[Detection]) -> list[Detection]:
    """Return the candidates whose weight, the number of hits of both cascades, is high enough for their size."""
    side_px = mean_side(image)
    return [candidate for candidate in candidates if candidate.weight >= _min_hits(candidate, side_px)]


def _min_hits(candidate: Detection, image_side_px: float) -> float:
    share = candidate.box.width / image_side_px
    if candidate.roll_degrees is None:
        return _MIN_HITS_LARGE if share >= _LARGE_SHARE else _MIN_HITS_SMALL
    if share > MAX_TURNED_SHARE:
        return math.inf
    return _MIN_HITS_LARGE_TURNED if share >= _LARGE_SHARE else _MIN_HITS_SMALL_TURNED
