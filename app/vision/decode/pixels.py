"""Decoding of pixels with Pillow or OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from app.contract.preprocess import GreyImage
from app.vision.decode.formats import is_deep_colour_png, is_plain_webp, is_run_length_bmp
from app.vision.decode.grey import blend_with_white, to_grey
from app.vision.decode.levels import to_8_bits, used_range
from app.vision.decode.limits import MAX_DECODE_BYTES
from app.vision.decode.orientation import upright_operation

_STRIP_BYTES = 1024 * 1024
_HALF_RANGE = 127
_COLOUR_DIMENSIONS, _BGRA_CHANNELS = 3, 4
_DEEP_COLOUR_BYTES = 16  # per pixel: the images of Pillow and OpenCV at the same time


def decode_pixels(image: Image.Image, data: bytes, reduction: int = 1) -> GreyImage:
    """Decode the first frame of a file.

    Args:
        image: Opened file that passed `limits.check_limits`.
        data: The same file.
        reduction: The width and the height of a JPEG are divided by it: 1, 2, 4 or 8.

    Returns:
        uint8 (H, W), upright.

    Raises:
        FerError: `undecodable_image` for 32-bit pixels.
        Exception: The file is damaged; Pillow raises many kinds.
    """
    if is_plain_webp(image) or is_run_length_bmp(image):
        return _decode_with_opencv(image, data)
    # Lets the JPEG decoder skip the chroma and compute fewer pixels. Other formats ignore it.
    image.draft("L", (image.width // reduction, image.height // reduction))
    image.load()
    grey = to_grey(image)
    if is_deep_colour_png(image, data):
        grey = _with_all_bits(grey, data)
    operation = upright_operation(image)
    return _to_array(grey if operation is None else grey.transpose(operation))


def _with_all_bits(grey: Image.Image, data: bytes) -> Image.Image:
    """Return a 16-bit colour PNG in grey, scaled by the range that it uses.

    Pillow keeps the upper 8 bits of each colour. They are enough if they use more than half of their range.

    Args:
        grey: The upper 8 bits, mode `L`.
        data: The file.
    """
    low, high = used_range(np.asarray(grey))
    if high - low > _HALF_RANGE or grey.width * grey.height * _DEEP_COLOUR_BYTES > MAX_DECODE_BYTES:
        return grey
    colours = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if colours is None or colours.dtype != np.uint16 or colours.ndim != _COLOUR_DIMENSIONS:
        return grey
    has_alpha = colours.shape[2] == _BGRA_CHANNELS and colours[:, :, 3].any()
    levels = cv2.cvtColor(np.ascontiguousarray(colours[:, :, :3]), cv2.COLOR_BGR2GRAY)
    scaled = to_8_bits(np.asarray(levels, dtype=np.uint16))
    if has_alpha:
        blend_with_white(scaled, (np.asarray(colours[:, :, 3], dtype=np.uint16) >> 8).astype(np.uint8))
    return Image.fromarray(scaled)


def _decode_with_opencv(image: Image.Image, data: bytes) -> GreyImage:
    """Decode with OpenCV: a WebP in half the time and a quarter of the memory, because Pillow decodes an animation."""
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None or decoded.shape != (image.height, image.width):
        raise ValueError(f"OpenCV cannot decode the {image.format} file")
    operation = upright_operation(image)
    return np.asarray(decoded if operation is None else Image.fromarray(decoded).transpose(operation), dtype=np.uint8)


def _to_array(grey: Image.Image) -> GreyImage:
    """Copy an image to an array in strips, because numpy alone makes two more copies of the whole image."""
    rows = max(1, _STRIP_BYTES // grey.width)
    if rows >= grey.height:
        return np.asarray(grey, dtype=np.uint8)
    pixels = np.empty((grey.height, grey.width), dtype=np.uint8)
    for top in range(0, grey.height, rows):
        strip = pixels[top : top + rows]
        strip[:] = np.asarray(grey.crop((0, top, grey.width, top + len(strip))))
    return pixels
