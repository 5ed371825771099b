"""Proposals: fast searches of the whole image that return places where a face may be.

Sizes of faces are shares of the image's long side. The image is downscaled so that the smallest face of a search fits
the cascade's window, so a search for large faces only is fast whatever the size of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from app.domain import Detection, FaceBox
from app.vision.detection.boxes import Square
from app.vision.detection.cascades import HAAR_WINDOW_PX, LBP_WINDOW_PX
from app.vision.detection.pyramid import ImagePyramid, with_usual_contrast

_STEP = 1.2  # ratio of successive face sizes
# OpenCV tests only every second position for faces smaller than twice the Haar window of 20 px, so the smallest face
# is kept above that.
_HAAR_MIN_FACE_PX = 48
_GROUP_DISTANCE = 0.4  # largest distance of hits in one group, as a share of their side
_KNOWN_FACE_OVERLAP = 0.4  # IoU at which a proposal is a known face; higher than for faces: proposals are less exact


def propose_with_lbp(
    cascade: cv2.CascadeClassifier, pyramid: ImagePyramid, min_face_share: float, max_face_share: float | None = None
) -> list[Square]:
    """Propose faces with the LBP cascade: fast, but it misses more small faces.

    Args:
        cascade: LBP cascade of this thread.
        pyramid: The image.
        min_face_share: Smallest face.
        max_face_share: Largest face; None for no limit.
    """
    return _propose(cascade, pyramid, LBP_WINDOW_PX, LBP_WINDOW_PX, min_face_share, max_face_share)


def propose_with_haar(cascade: cv2.CascadeClassifier, pyramid: ImagePyramid, min_face_share: float) -> list[Square]:
    """Propose faces of at least `min_face_share` with the Haar cascade: slow, and finds small faces."""
    return _propose(cascade, pyramid, HAAR_WINDOW_PX, _HAAR_MIN_FACE_PX, min_face_share, None)


def without_known(proposals: Sequence[Square], faces: Sequence[Detection]) -> list[Square]:
    """Return the proposals that do not overlap a known face, because known faces need no further verification."""
    boxes = [(proposal, FaceBox(*map(round, (*proposal, proposal[2])))) for proposal in proposals]
    return [proposal for proposal, box in boxes if all(box.overlap(face.box) < _KNOWN_FACE_OVERLAP for face in faces)]


def _propose(
    cascade: cv2.CascadeClassifier,
    pyramid: ImagePyramid,
    window_px: int,
    downscaled_face_px: int,
    min_face_share: float,
    max_face_share: float | None,
) -> list[Square]:
    """Return one proposal per group of hits; a single hit is a group.

    Args:
        cascade: The cascade that searches.
        pyramid: The image.
        window_px: Side of the cascade's window.
        downscaled_face_px: Side of the smallest face in the downscaled image.
        min_face_share: Smallest face.
        max_face_share: Largest face; None for no limit.
    """
    downscaled, scale = pyramid.downscaled(round(downscaled_face_px / min_face_share))
    image = with_usual_contrast(downscaled)
    long_side_px = max(image.shape)
    min_face_px = max(window_px, round(long_side_px * min_face_share))
    max_face_px = 0 if max_face_share is None else max(min_face_px, round(long_side_px * max_face_share))
    hits = cascade.detectMultiScale(image, _STEP, 0, minSize=(min_face_px,) * 2, maxSize=(max_face_px,) * 2)
    boxes = [[int(value) for value in hit] for hit in hits]
    # OpenCV drops groups of one hit even at the lowest threshold, so every hit is passed twice.
    groups, _ = cv2.groupRectangles(boxes * 2, 1, _GROUP_DISTANCE)
    return [(x / scale, y / scale, side / scale) for x, y, side, _ in groups]
