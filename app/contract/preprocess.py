"""The one way from a grey image and a face box to the network's input.

Geometry only: no normalisation (that is in the graph), no decoding, no files. Training and serving both call this,
so a change here is a change of contract: give it a new PREPROCESS_ID.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from app.domain import FaceBox

CROP_SIZE_PX = 48
# A Haar box is centred on the FER2013 framing and its median side is 0.96 of it, so the crop is the box widened by
# 4 % around its centre (measured on 1,500 Training faces set on canvases; docs: README, "Detection").
FACE_BOX_SCALE = 1.04
PREPROCESS_ID = "grey48-box1.04-area-v1"

GreyImage = npt.NDArray[np.uint8]


def resize_to_crop(grey: GreyImage) -> GreyImage:
    """Scales a whole grey image to the network's input size.

    Args:
        grey: uint8 (H, W), H and W at least 1. An image that is not square is stretched.

    Returns:
        uint8 (48, 48, 1). INTER_AREA where the image shrinks (INTER_LINEAR would alias: several grey levels of
        difference), INTER_LINEAR where it grows; an image of 48x48 is returned with its pixels unchanged.
    """
    height, width = grey.shape
    shrinks = height > CROP_SIZE_PX or width > CROP_SIZE_PX
    resized = cv2.resize(
        grey, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return np.asarray(resized, dtype=np.uint8)[:, :, np.newaxis]


def crop_face(grey: GreyImage, box: FaceBox) -> GreyImage:
    """Cuts one face out of a grey image, framed as FER2013 frames faces.

    Args:
        grey: uint8 (H, W), the upright image.
        box: The detected face in its pixels.

    Returns:
        uint8 (48, 48, 1). Where the widened box leaves the image, the edge pixels are repeated, so a face at the
        border keeps its centre and scale.
    """
    height, width = grey.shape
    crop_width = round(box.width * FACE_BOX_SCALE)
    crop_height = round(box.height * FACE_BOX_SCALE)
    left = box.x - (crop_width - box.width) // 2
    top = box.y - (crop_height - box.height) // 2
    right, bottom = left + crop_width, top + crop_height
    inside = grey[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if inside.shape != (crop_height, crop_width):
        inside = np.asarray(
            cv2.copyMakeBorder(
                inside,
                max(-top, 0),
                max(bottom - height, 0),
                max(-left, 0),
                max(right - width, 0),
                cv2.BORDER_REPLICATE,
            ),
            dtype=np.uint8,
        )
    return resize_to_crop(inside)
