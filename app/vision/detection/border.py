"""Proposals of a face that fills the image.

The cascade needs a margin around a face, and a cropped face has none. The search repeats the edge pixels of the image
around it.
"""

from __future__ import annotations

import cv2

from app.vision.detection.boxes import Square
from app.vision.detection.cascades import HAAR_WINDOW_PX
from app.vision.detection.proposals import group_hits
from app.vision.detection.pyramid import ImagePyramid, with_usual_contrast

_MEAN_SIDE_PX = 280
_BORDER_SHARE = 0.25  # of the long side
_MIN_FACE_SHARE = 0.6  # of the short side
_STEP = 1.1


def propose_with_border(haar: cv2.CascadeClassifier, pyramid: ImagePyramid) -> list[Square]:
    """Propose faces that fill most of the image."""
    image, scale = pyramid.downscaled(_MEAN_SIDE_PX)
    border = round(max(image.shape) * _BORDER_SHARE)
    bordered = cv2.copyMakeBorder(with_usual_contrast(image), border, border, border, border, cv2.BORDER_REPLICATE)
    min_face_px = max(HAAR_WINDOW_PX, round(min(image.shape) * _MIN_FACE_SHARE))
    hits = haar.detectMultiScale(bordered, _STEP, 0, minSize=(min_face_px,) * 2)
    return [Square((x - border) / scale, (y - border) / scale, side / scale) for x, y, side in group_hits(hits)]
