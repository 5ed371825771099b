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
_CERTAIN_HITS = 25  # of the first cascade: a face, the second cascade is not needed
_REFINED_MIN_HITS = 8  # of the first cascade, around the candidate: fewer are no face
_REFINED_DEGREES = (0.0, 15.0, -15.0)
_FACE_HITS = 30  # of both cascades, around the candidate
_TURNED_FACE_HITS = 40  # the same for a turned candidate: a place has many rolls at which it may look like a face


class Verified(NamedTuple):
    """Result of the verification.

    Attributes:
        faces: Verified faces without duplicates, highest weight first.
        rejected: Proposals without a verified face.
    """

    faces: list[Detection]
    rejected: list[Square]


class _Candidate(NamedTuple):
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
    faces: list[Detection] = []
    rejected: list[Square] = []
    for proposal in proposals:
        candidates = _search(cascades.haar, pyramid, proposal, margin)
        found = [face for candidate in candidates if (face := _judge(cascades, pyramid, candidate))]
        for square, hits in found:
            faces.append(Detection(to_box(square, pyramid.image), float(hits), square.degrees or None))
        if not found:
            rejected.append(proposal)
    return Verified(remove_duplicates(faces), rejected)


def _judge(cascades: Cascades, pyramid: ImagePyramid, candidate: _Candidate) -> _Candidate | None:
    """Return a candidate that is a face, with its best roll; None if it is no face."""
    if candidate.hits < _MIN_HITS:
        return None
    if candidate.hits >= _CERTAIN_HITS and not candidate.square.degrees:
        return candidate
    for degrees in _REFINED_DEGREES:
        refined = _refine(cascades, pyramid, candidate.square, degrees)
        if refined.hits >= (_TURNED_FACE_HITS if refined.square.degrees else _FACE_HITS):
            return refined
    return None


def _refine(cascades: Cascades, pyramid: ImagePyramid, square: Square, degrees: float) -> _Candidate:
    """Search around a square that is turned by further degrees, and count the hits of both cascades."""
    turned = square._replace(degrees=square.degrees + degrees)
    first = _best(cascades.haar, pyramid, turned)
    if first.hits < _REFINED_MIN_HITS or first.hits >= _TURNED_FACE_HITS:
        return first
    return first._replace(hits=first.hits + _best(cascades.second_stage, pyramid, first.square).hits)


def _best(cascade: cv2.CascadeClassifier, pyramid: ImagePyramid, square: Square) -> _Candidate:
    candidates = _search(cascade, pyramid, square, MARGIN)
    return max(candidates, key=lambda candidate: candidate.hits, default=_Candidate(square, 0))


def _search(
    cascade: cv2.CascadeClassifier,
    pyramid: ImagePyramid,
    square: Square,
    margin: float,
) -> list[_Candidate]:
    """Return each group of overlapping hits around a square. A single hit is no group."""
    region = Region.around(pyramid, square, margin)
    if region is None:
        return []
    min_size, max_size = ((round(FACE_PX * share),) * 2 for share in _SIZE_RANGE)
    boxes = cascade.detectMultiScale(region.pixels, _STEP, 0, minSize=min_size, maxSize=max_size)
    groups, hits = cv2.groupRectangles([[int(value) for value in box] for box in boxes], 1, _GROUP_DISTANCE)
    return [
        _Candidate(region.to_image(x, y, side), int(count)) for (x, y, side, _), count in zip(groups, hits, strict=True)
    ]
