"""Proposals: fast searches of the whole image that return places where a face may be.

Sizes of faces are shares of the image's mean side, the square root of its area. The image is downscaled so that the
smallest face of a search fits the cascade's window, so a search for large faces only is fast whatever the size of the
image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2

from app.contract.preprocess import GreyImage
from app.domain import Detection
from app.vision.detection.boxes import Square, square_around, to_box, turned
from app.vision.detection.cascades import LBP_WINDOW_PX
from app.vision.detection.pyramid import ImagePyramid, mean_side, turned_copy, with_usual_contrast

_STEP = 1.2  # ratio of successive face sizes
# Side of the smallest face in the searched copy of the image, in pixels; at least the cascade's window.
_LBP_FACE_PX = LBP_WINDOW_PX
_HAAR_FACE_PX = 22
_GROUP_DISTANCE = 0.3  # largest distance of hits in one group, as a share of their side
_KNOWN_FACE_OVERLAP = 0.4  # IoU at which a proposal is a known face; higher than for faces: proposals are less exact


def propose_with_lbp(
    cascade: cv2.CascadeClassifier,
    pyramid: ImagePyramid,
    min_face_share: float,
    max_face_share: float | None = None,
    degrees: float = 0.0,
) -> list[Square]:
    """Propose faces with the LBP cascade: fast, but it misses more small and tilted faces.

    Args:
        cascade: LBP cascade of this thread.
        pyramid: The image.
        min_face_share: Smallest face, as a share of the mean side.
        max_face_share: Largest face; None for no limit.
        degrees: Roll of the faces, positive clockwise.
    """
    return _propose(cascade, pyramid, _LBP_FACE_PX, min_face_share, max_face_share, degrees)


def propose_with_haar(
    cascade: cv2.CascadeClassifier,
    pyramid: ImagePyramid,
    min_face_share: float,
    max_face_share: float | None = None,
    degrees: float = 0.0,
) -> list[Square]:
    """Propose faces of at least `min_face_share` with the Haar cascade: slow, and finds small and tilted faces."""
    return _propose(cascade, pyramid, _HAAR_FACE_PX, min_face_share, max_face_share, degrees)


def _propose(
    cascade: cv2.CascadeClassifier,
    pyramid: ImagePyramid,
    face_px: int,
    min_face_share: float,
    max_face_share: float | None,
    degrees: float,
) -> list[Square]:
    """Return one proposal per group of overlapping hits. A single hit is a group.

    Args:
        cascade: The cascade that searches.
        pyramid: The image.
        face_px: Side of the smallest face in the searched copy of the image.
        min_face_share: Smallest face.
        max_face_share: Largest face; None for no limit.
        degrees: Roll of the faces.
    """
    downscaled, scale = pyramid.downscaled(face_px / min_face_share)
    side_px = mean_side(downscaled)
    min_face_px = max(face_px, round(side_px * min_face_share))
    max_face_px = 0 if max_face_share is None else max(min_face_px, round(side_px * max_face_share))
    image = with_usual_contrast(downscaled)
    searched = turned_copy(image, degrees) if degrees else image
    hits = cascade.detectMultiScale(searched, _STEP, 0, minSize=(min_face_px,) * 2, maxSize=(max_face_px,) * 2)
    proposals = []
    for left, top, side in group_hits(hits):
        across, down = left + (side - searched.shape[1]) / 2, top + (side - searched.shape[0]) / 2
        x, y = turned(across, down, degrees)
        x, y = (x + image.shape[1] / 2) / scale, (y + image.shape[0] / 2) / scale
        proposals.append(square_around(x, y, side / scale, degrees))
    return proposals


def without_known(proposals: Sequence[Square], faces: Sequence[Detection], image: GreyImage) -> list[Square]:
    """Return the proposals that do not overlap a known face, because known faces need no further verification."""
    boxes = [(proposal, to_box(proposal, image)) for proposal in proposals]
    return [proposal for proposal, box in boxes if all(box.overlap(face.box) < _KNOWN_FACE_OVERLAP for face in faces)]


def group_hits(hits: Iterable[Sequence[int]]) -> list[tuple[int, int, int]]:
    """Return left, top and side of each group of overlapping hits. A single hit is a group."""
    boxes = [[int(value) for value in hit] for hit in hits]
    # OpenCV drops groups of one hit even at the lowest threshold, so every hit is passed twice.
    groups, _ = cv2.groupRectangles(boxes * 2, 1, _GROUP_DISTANCE)
    return [(int(x), int(y), int(side)) for x, y, side, _ in groups]
