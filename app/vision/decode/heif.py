"""Decoding of HEIC and HEIF files with libheif, by the package pi-heif."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.errors import ErrorCode, FerError
from app.vision.decode.grey import blend_with_white
from app.vision.decode.limits import check_memory, check_size
from app.vision.decode.picture_items import read_picture

try:
    import pi_heif
except ImportError:  # no wheel for this platform
    pi_heif = None
else:
    pi_heif.options.DECODE_THREADS = 1  # each vision thread has a core

_MODES = {"L": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}  # channels
_WIDE_MODES = {f"{mode};16": channels for mode, channels in _MODES.items()} | {"I;16": 1, "I;16L": 1}
_TO_LUMA = {3: cv2.COLOR_RGB2GRAY, 4: cv2.COLOR_RGBA2GRAY}  # by the number of channels
_STRIP_ROWS = 64


def decode_heif(data: bytes, max_pixels: int) -> GreyImage:
    """Decode the primary picture of a HEIC or HEIF file.

    libheif applies the rotation, mirroring and cropping of the container, and joins the tiles of a grid. The EXIF
    orientation has no effect, as ISO/IEC 23008-12 requires.

    Args:
        data: The file.
        max_pixels: Largest accepted width times height.

    Returns:
        uint8 (H, W), upright.

    Raises:
        FerError: The limits refuse the file, or no decoder is installed.
        Exception: The file is damaged.
    """
    if pi_heif is None:
        raise FerError(
            ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
            "expected a JPEG or PNG file. Received: a HEIC file, for which this installation has no decoder (pi-heif)",
        )
    picture = read_picture(data)
    check_size(picture.width, picture.height, max_pixels)
    check_memory(picture.width, picture.height, picture.heic_bytes, "HEIC file of this kind")
    pictures = pi_heif.open_heif(data, convert_hdr_to_8bit=True, remove_stride=False)
    return _to_grey(_pixels_of(pictures[pictures.primary_index]))


def _pixels_of(picture: Any) -> np.ndarray[Any, Any]:
    """Decode a picture. Return uint8 or uint16 (H, W, channels), a view of libheif's memory."""
    memory = picture.data  # decodes
    (width, height), mode = picture.size, picture.mode
    depth = np.uint16 if mode in _WIDE_MODES else np.uint8
    channels = (_MODES | _WIDE_MODES)[mode]
    rows = np.frombuffer(memory, depth).reshape(height, -1)
    return rows[:, : width * channels].reshape(height, width, channels)


def _to_grey(pixels: np.ndarray[Any, Any]) -> GreyImage:
    height, width, channels = pixels.shape
    grey = np.empty((height, width), np.uint8)
    is_blended = channels in {2, 4} and pixels[:, :, -1].any()  # alpha of 0 everywhere has no meaning
    for top in range(0, height, _STRIP_ROWS):
        strip = pixels[top : top + _STRIP_ROWS]
        if strip.dtype == np.uint16:
            strip = np.asarray(cv2.convertScaleAbs(strip.reshape(len(strip), -1), alpha=1 / 257)).reshape(strip.shape)
        luma = strip[:, :, 0] if channels < 3 else cv2.cvtColor(np.ascontiguousarray(strip), _TO_LUMA[channels])
        grey[top : top + _STRIP_ROWS] = luma
        if is_blended:
            blend_with_white(grey[top : top + _STRIP_ROWS], strip[:, :, -1])
    return grey
