"""Search for a face that fills the image.

The cascade needs a margin around a face, and a cropped face has none. The search repeats the edge pixels of the image
around it.
"""

from __future__ import annotations

import cv2

from app.domain import Detection
from app.vision.detection.boxes import to_box
from app.vision.detection.cascades import HAAR_WINDOW_PX
from app.vision.detection.pyramid import ImagePyramid, with_usual_contrast

_LONG_SIDE_PX = 320
_BORDER_SHARE = 0.25  # of the long side
_MIN_FACE_SHARE = 0.6  # of the short side
_STEP = 1.1
_MIN_NEIGHBORS = 3


def search_with_border(haar: cv2.CascadeClassifier, pyramid: ImagePyramid) -> list[Detection]:
    """Return faces that fill most of the image."""
    image, scale = pyramid.downscaled(_LONG_SIDE_PX)
    border = round(max(image.shape) * _BORDER_SHARE)
    bordered = cv2.copyMakeBorder(with_usual_contrast(image), border, border, border, border, cv2.BORDER_REPLICATE)
    min_face_px = max(HAAR_WINDOW_PX, round(min(image.shape) * _MIN_FACE_SHARE))
    boxes, _, weights = haar.detectMultiScale3(
        bordered, _STEP, _MIN_NEIGHBORS, minSize=(min_face_px,) * 2, outputRejectLevels=True
    )
    return [
        Detection(to_box(((x - border) / scale, (y - border) / scale, side / scale), pyramid.image), float(weight))
        for (x, y, side, _), weight in zip(boxes, weights, strict=True)
    ]
