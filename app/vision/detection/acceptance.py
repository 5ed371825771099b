"""Acceptance: the decision which of the verified boxes show a face. It is the only place of this decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.contract.preprocess import GreyImage
from app.domain import Detection
from app.vision.detection.pyramid import mean_side

# Decides for the boxes of one image, uint8 (H, W).
Acceptance = Callable[[GreyImage, Sequence[Detection]], list[Detection]]

# A large image part is seldom a false face: there are few places of its size.
_LARGE_SHARE = 0.12  # side of a box, as a share of the image's mean side
_MIN_HITS_LARGE = 16
_MIN_HITS_SMALL = 27
# A place has many rolls at which it may look like a face.
_TURNED_FACTOR = 1.4


def accept_by_hits(image: GreyImage, candidates: Sequence[Detection]) -> list[Detection]:
    """Return the candidates whose weight, the number of hits of both cascades, is high enough for their size."""
    large_px = _LARGE_SHARE * mean_side(image)
    return [candidate for candidate in candidates if candidate.weight >= _min_hits(candidate, large_px)]


def _min_hits(candidate: Detection, large_px: float) -> float:
    hits = _MIN_HITS_LARGE if candidate.box.width >= large_px else _MIN_HITS_SMALL
    return hits * (1 if candidate.roll_degrees is None else _TURNED_FACTOR)
