"""Conversion of a grey image and a face box into the input of the network.

Training and serving both call these functions, so a change of their result needs a new `PREPROCESS_ID`. The module
computes the crop only: the network itself normalises the pixels, and other modules decode images. Training gets crops
of FER2013 and calls only `with_min_contrast`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from app.contract.contrast import with_min_contrast
from app.domain import FaceBox

CROP_SIZE_PX = 48
# Scale from a Haar box to the framing of FER2013. The median side of a Haar box is 0.96 of the side of a FER2013 crop
# and both have the same centre (measured on 1,500 Training faces placed on larger images).
FACE_BOX_SCALE = 1.04
PREPROCESS_ID = "grey48-box1.04-area-contrast35-v2"

GreyImage = npt.NDArray[np.uint8]


def resize_to_crop(grey: GreyImage) -> GreyImage:
    """Resize a whole grey image to the input size of the network.

    Args:
        grey: uint8 (H, W), H and W at least 1. An image that is not square is stretched.

    Returns:
        uint8 (48, 48, 1), stretched if its contrast is low; see `with_min_contrast`. An image of 48x48 pixels and of
        usual contrast is returned unchanged.
    """
    height, width = grey.shape
    # INTER_LINEAR would alias when it shrinks an image: differences of several grey levels.
    shrinks = height > CROP_SIZE_PX or width > CROP_SIZE_PX
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(grey, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=interpolation)
    return with_min_contrast(np.asarray(resized, dtype=np.uint8)[:, :, np.newaxis])


def crop_face(grey: GreyImage, box: FaceBox, roll_degrees: float = 0.0) -> GreyImage:
    """Crop one face with the framing of FER2013 and resize it to the input size of the network.

    Args:
        grey: uint8 (H, W), upright image.
        box: Detected face in pixels of the image.
        roll_degrees: Angle by which the face is turned, positive clockwise. The crop is turned by it around the centre
            of the box, so that the face is upright in the crop.

    Returns:
        uint8 (48, 48, 1). Where the scaled box extends beyond the image, the edge pixels are repeated, so a face at
        the border keeps its position and scale.
    """
    crop_width = round(box.width * FACE_BOX_SCALE)
    crop_height = round(box.height * FACE_BOX_SCALE)
    left = box.x - (crop_width - box.width) // 2
    top = box.y - (crop_height - box.height) // 2
    rectangle = FaceBox(left, top, crop_width, crop_height)
    if roll_degrees == 0:
        return resize_to_crop(_cut(grey, rectangle))
    return resize_to_crop(_cut_turned(grey, rectangle, math.radians(roll_degrees)))


def _cut(grey: GreyImage, rectangle: FaceBox) -> GreyImage:
    """Return the pixels of a rectangle. Beyond the image the edge pixels are repeated."""
    height, width = grey.shape
    left, top = rectangle.x, rectangle.y
    right, bottom = left + rectangle.width, top + rectangle.height
    inside = grey[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if inside.shape == (rectangle.height, rectangle.width):
        return inside
    margins = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    return np.asarray(cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _cut_turned(grey: GreyImage, rectangle: FaceBox, roll: float) -> GreyImage:
    """Return the pixels of a rectangle that is turned clockwise by `roll` radians around its centre."""
    height, width = grey.shape
    cos, sin = math.cos(roll), math.sin(roll)
    centre_x, centre_y = rectangle.x + (rectangle.width - 1) / 2, rectangle.y + (rectangle.height - 1) / 2
    # OpenCV turns no image of more than 32,767 pixels a side, so the function gets the surroundings of the face only.
    reach = math.ceil(math.hypot(rectangle.width, rectangle.height) / 2) + 1
    left = min(max(math.floor(centre_x) - reach, 0), width - 1)
    top = min(max(math.floor(centre_y) - reach, 0), height - 1)
    around = grey[top : max(math.ceil(centre_y) + reach, top) + 1, left : max(math.ceil(centre_x) + reach, left) + 1]
    half_width, half_height = (rectangle.width - 1) / 2, (rectangle.height - 1) / 2
    to_image = np.array(
        [
            [cos, -sin, centre_x - left - cos * half_width + sin * half_height],
            [sin, cos, centre_y - top - sin * half_width - cos * half_height],
        ]
    )
    turned = cv2.warpAffine(
        around,
        to_image,
        (rectangle.width, rectangle.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(turned, dtype=np.uint8)
