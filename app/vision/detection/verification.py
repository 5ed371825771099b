"""Verification: an accurate search around each proposal.

The Haar cascade searches the surroundings of a proposal, scaled so that the face has one size everywhere, in fine steps
of size. This removes false proposals, and its boxes are better centred and sized than those of a whole-image search,
which matters for classification (`python -m benchmarks.end_to_end` measures it).

Around a face, both cascades accept many overlapping windows (hits); around anything else, few. The number of hits
separates them far better than the cascade's weight of a window, which is 54 to 58 for faces and false boxes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2

from app.domain import Detection
from app.vision.detection.boxes import Square, remove_duplicates, to_box
from app.vision.detection.cascades import Cascades
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.region import FACE_PX, Region

MARGIN = 0.3  # around the proposal, as a share of its side
_STEP = 1.07  # ratio of successive face sizes
_SIZE_RANGE = (0.75, 1.35)  # sides searched, as shares of the proposal's side
_GROUP_DISTANCE = 0.2  # largest distance of hits in one group, as a share of their side; OpenCV's own

_MIN_HITS = 3  # of the first cascade: fewer are no candidate
_CERTAIN_HITS = 25  # of the first cascade, upright: the second cascade is not needed
_REFINED_DEGREES = (0.0, 15.0, -15.0)
_REFINED_MIN_HITS = 8  # of the first cascade: with fewer, the second cascade is not asked
_REFINED_CERTAIN_HITS = 40  # of both cascades: no other roll is tried


class Verified(NamedTuple):
    """Result of the verification.

    Attributes:
        candidates: Boxes that may show faces, without duplicates, highest weight first. The weight is the number of
            hits.
        rejected: Proposals without a candidate.
    """

    candidates: list[Detection]
    rejected: list[Square]


class _Group(NamedTuple):
    """A group of overlapping hits."""

    square: Square
    hits: int


def verify(cascades: Cascades, pyramid: ImagePyramid, proposals: Sequence[Square], margin: float = MARGIN) -> Verified:
    """Search around each proposal.

    Args:
        cascades: Cascades of this thread.
        pyramid: The image.
        proposals: Places to search. Proposals outside the image are ignored.
        margin: Width of the surroundings, as a share of the proposal's side.
    """
    candidates: list[Detection] = []
    rejected: list[Square] = []
    for proposal in proposals:
        region = Region.around(pyramid, proposal, margin)
        if region is None:
            continue
        groups = _groups(cascades.haar, region)
        possible = [_best_roll(cascades, pyramid, group) for group in groups if group.hits >= _MIN_HITS]
        for square, hits in possible:
            candidates.append(Detection(to_box(square, pyramid.image), float(hits), square.degrees or None))
        if not possible:
            rejected.append(proposal)
    return Verified(remove_duplicates(candidates), rejected)


def _best_roll(cascades: Cascades, pyramid: ImagePyramid, group: _Group) -> _Group:
    """Return a group at the roll with the most hits. A certain upright group is returned unchanged."""
    if group.hits >= _CERTAIN_HITS and not group.square.degrees:
        return group
    best = group._replace(hits=0)
    for degrees in _REFINED_DEGREES:
        refined = _refine(cascades, pyramid, group.square, degrees)
        best = max(best, refined, key=lambda group: group.hits)
        if best.hits >= _REFINED_CERTAIN_HITS:
            break
    return best


def _refine(cascades: Cascades, pyramid: ImagePyramid, square: Square, degrees: float) -> _Group:
    """Search around a square that is turned by further degrees, and count the hits of both cascades."""
    turned = square._replace(degrees=square.degrees + degrees)
    first = _largest_group(cascades.haar, pyramid, turned)
    if not _REFINED_MIN_HITS <= first.hits < _REFINED_CERTAIN_HITS:
        return first
    return first._replace(hits=first.hits + _largest_group(cascades.second_stage, pyramid, first.square).hits)


def _largest_group(cascade: cv2.CascadeClassifier, pyramid: ImagePyramid, square: Square) -> _Group:
    region = Region.around(pyramid, square, MARGIN)
    groups = [] if region is None else _groups(cascade, region)
    return max(groups, key=lambda group: group.hits, default=_Group(square, 0))


def _groups(cascade: cv2.CascadeClassifier, region: Region) -> list[_Group]:
    """Return each group of overlapping hits in a region. A single hit is no group."""
    min_size, max_size = ((round(FACE_PX * share),) * 2 for share in _SIZE_RANGE)
    boxes = cascade.detectMultiScale(region.pixels, _STEP, 0, minSize=min_size, maxSize=max_size)
    groups, hits = cv2.groupRectangles([[int(value) for value in box] for box in boxes], 1, _GROUP_DISTANCE)
    return [
        _Group(region.to_image(x, y, side), int(count)) for (x, y, side, _), count in zip(groups, hits, strict=True)
    ]
