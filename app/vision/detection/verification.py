"""Verification: an accurate search around each proposal.

The Haar cascade searches the surroundings of a proposal, scaled so that the face has one size everywhere, in fine steps
of size. This removes false proposals, and its boxes are better centred and sized than those of a whole-image search,
which matters for classification (`python -m benchmarks.end_to_end` measures it).

Around a face, the cascade accepts many overlapping windows (hits); around anything else, few. The cascade's own weight
of a window says less: it is 54 to 58 for faces and false boxes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2

from app.vision.detection.boxes import Square
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.region import FACE_PX, Region

MARGIN = 0.3  # around the proposal, as a share of its side
_STEP = 1.07  # ratio of successive face sizes
_SIZE_RANGE = (0.75, 1.35)  # sides searched, as shares of the proposal's side
_GROUP_DISTANCE = 0.2  # largest distance of hits in one group, as a share of their side; OpenCV's own

_CERTAIN_HITS = 20  # upright: no other roll is tried
_ROLLS_DEGREES = (0.0, 15.0, -15.0)


class Candidate(NamedTuple):
    """A place that may show a face.

    Attributes:
        square: Frame of the face.
        hits: Number of overlapping windows in which the cascade finds it.
    """

    square: Square
    hits: int


class Verified(NamedTuple):
    """Result of the verification.

    Attributes:
        candidates: Places that may show faces. Several may be one face.
        rejected: Proposals without a candidate.
    """

    candidates: list[Candidate]
    rejected: list[Square]


def verify(
    haar: cv2.CascadeClassifier, pyramid: ImagePyramid, proposals: Sequence[Square], margin: float = MARGIN
) -> Verified:
    """Search around each proposal.

    Args:
        haar: Haar cascade of this thread.
        pyramid: The image.
        proposals: Places to search. Proposals outside the image are ignored.
        margin: Width of the surroundings, as a share of the proposal's side.
    """
    candidates: list[Candidate] = []
    rejected: list[Square] = []
    for proposal in proposals:
        region = Region.around(pyramid, proposal, margin)
        if region is None:
            continue
        found = _candidates(haar, region)
        for candidate in found:
            candidates += _at_other_rolls(haar, pyramid, candidate)
        if not found:
            rejected.append(proposal)
    return Verified(candidates, rejected)


def _at_other_rolls(haar: cv2.CascadeClassifier, pyramid: ImagePyramid, candidate: Candidate) -> list[Candidate]:
    """Return a candidate as it is found at further rolls. A certain upright one is returned unchanged."""
    square = candidate.square
    if candidate.hits >= _CERTAIN_HITS and not square.degrees:
        return [candidate]
    found = []
    for degrees in _ROLLS_DEGREES:
        region = Region.around(pyramid, square._replace(degrees=square.degrees + degrees), MARGIN)
        again = [] if region is None else _candidates(haar, region)
        found += sorted(again, key=lambda candidate: -candidate.hits)[:1]
    return found


def _candidates(haar: cv2.CascadeClassifier, region: Region) -> list[Candidate]:
    """Return each group of overlapping hits in a region. A single hit is no group."""
    min_size, max_size = ((round(FACE_PX * share),) * 2 for share in _SIZE_RANGE)
    boxes = haar.detectMultiScale(region.pixels, _STEP, 0, minSize=min_size, maxSize=max_size)
    groups, hits = cv2.groupRectangles([[int(value) for value in box] for box in boxes], 1, _GROUP_DISTANCE)
    return [
        Candidate(region.to_image(x, y, side), int(count)) for (x, y, side, _), count in zip(groups, hits, strict=True)
    ]
