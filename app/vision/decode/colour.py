"""Decoding to a reduced colour image, for a detector that searches in colour."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.preprocess import GreyImage
from app.vision.decode.formats import identify_format, is_plain_webp
from app.vision.decode.limits import BoundedReader, check_limits
from app.vision.decode.orientation import upright_operation

ColourImage = npt.NDArray[np.uint8]

_WHITE = (255, 255, 255)
_MAX_ASPECT_DIFFERENCE = 0.02


def decode_colour(data: bytes, grey: GreyImage, min_pixels: int, max_pixels: int) -> ColourImage | None:
    """Decode an image file a second time, in colour and at a reduced size. Thread-safe.

    The grey image keeps its full size and its exact levels, because crops are made of it. A JPEG file is decoded at
    1/2, 1/4 or 1/8 of its size, which takes less time and memory than one decoding in full colour.

    Args:
        data: An image file that `decode_image` accepts.
        grey: Its grey image.
        min_pixels: Number of pixels that the colour image keeps at least, if the file has as many.
        max_pixels: Largest accepted width times height.

    Returns:
        uint8 (h, w, 3), RGB, upright; None if the file has no colour or its colour cannot be decoded: the grey image is
        used instead.
    """
    try:
        image = _decode(data, min_pixels, max_pixels)
    except Exception:  # the grey image of a damaged or unusual file was decoded in another way
        return None
    if image is None:
        return None
    colour = np.asarray(image, dtype=np.uint8)
    aspect, expected = colour.shape[1] / colour.shape[0], grey.shape[1] / grey.shape[0]
    rounding = 1 / min(colour.shape[:2])
    return colour if abs(aspect / expected - 1) < _MAX_ASPECT_DIFFERENCE + rounding else None


def _decode(data: bytes, min_pixels: int, max_pixels: int) -> Image.Image | None:
    with Image.open(BoundedReader(data), formats=(identify_format(data) or "",)) as image:
        reduction = check_limits(image, data, max_pixels, lambda width, height: _reduction(width * height, min_pixels))
        if image.mode in {"1", "L", "LA"} or image.mode.startswith(("I", "F")):
            return None
        if is_plain_webp(image):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
            colour = _reduced(Image.fromarray(np.asarray(pixels, dtype=np.uint8)), min_pixels)
        else:
            image.draft("RGB", (image.width // reduction, image.height // reduction))  # JPEG files only
            image.load()
            colour = _to_rgb(image, min_pixels)
        operation = upright_operation(image)
    return colour if operation is None else colour.transpose(operation)


def _reduction(pixels: int, min_pixels: int) -> int:
    """Return the largest reduction of a JPEG that keeps the wanted pixels."""
    return next((factor for factor in (8, 4, 2) if pixels >= min_pixels * factor**2), 1)


def _to_rgb(image: Image.Image, min_pixels: int) -> Image.Image:
    if not image.has_transparency_data:
        return _reduced(image if image.mode in {"RGB", "CMYK"} else image.convert("RGB"), min_pixels).convert("RGB")
    reduced = _reduced(image if image.mode == "RGBA" else image.convert("RGBA"), min_pixels)
    blended = Image.new("RGB", reduced.size, _WHITE)
    blended.paste(reduced.convert("RGB"), mask=reduced.getchannel("A"))
    return blended


def _reduced(image: Image.Image, min_pixels: int) -> Image.Image:
    factor = int(math.sqrt(image.width * image.height / min_pixels))
    return image.reduce(factor) if factor > 1 else image
