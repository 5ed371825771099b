"""Conversion of colour modes and bit depths to 8-bit grey."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.preprocess import GreyImage
from app.errors import ErrorCode, FerError
from app.vision.decode.levels import to_8_bits

_WHITE = 255
_16_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_32_BIT_MODES = frozenset({"I", "F"})  # 32-bit integers and floats: the value of white is unknown


def to_grey(image: Image.Image) -> Image.Image:
    """Convert a decoded image to mode `L` with the luma weights of ITU-R BT.601.

    Transparent pixels become white. An alpha channel that is 0 everywhere is ignored: writers that leave it unset
    store the picture in the other channels.

    Raises:
        FerError: `undecodable_image` for 32-bit pixels.
    """
    if image.mode in _16_BIT_MODES:
        return _from_16_bit(image)
    if image.mode in _32_BIT_MODES:
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE, f"expected 8 or 16 bits per channel. Received: 32 bits (mode {image.mode})"
        )
    if image.has_transparency_data:
        return _blend_with_white(image)
    if image.mode == "L":
        return image
    return (image if image.mode == "RGB" else image.convert("RGB")).convert("L")  # convert() to the same mode copies


def blend_with_white(grey: GreyImage, alpha: npt.NDArray[np.uint8]) -> None:
    """Blend grey levels with white, in place.

    Args:
        grey: uint8 (H, W).
        alpha: uint8 (H, W); 0 is transparent.
    """
    blended = Image.new("L", (grey.shape[1], grey.shape[0]), _WHITE)
    blended.paste(Image.fromarray(grey), mask=Image.fromarray(np.ascontiguousarray(alpha)))
    grey[:] = np.asarray(blended)


def _from_16_bit(image: Image.Image) -> Image.Image:
    levels = np.array(image, dtype=np.uint16)
    key = image.info.get("transparency")
    transparent = None if key is None else levels == key
    grey = to_8_bits(levels)
    if transparent is not None and not transparent.all():
        grey[transparent] = _WHITE
    return Image.fromarray(grey)


def _blend_with_white(image: Image.Image) -> Image.Image:
    # Blending in grey takes a quarter of the memory of blending in colour and gives the same result within rounding.
    coloured = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = coloured.getchannel("A")
    if alpha.getextrema() == (0, 0):
        return coloured.convert("L")
    white = Image.new("L", image.size, _WHITE)
    white.paste(coloured.convert("L"), mask=alpha)
    return white
