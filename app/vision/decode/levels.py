"""Conversion of more than 8 bits per sample to 8 bits."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from app.contract.preprocess import GreyImage

_WHITE = 255
# Share of the pixels that may be darker than black or brighter than white: sensors have some hot pixels.
_IGNORED_SHARE = 0.001
# Fewer levels than this are the noise of an image without content.
_MIN_LEVELS = 32


def to_8_bits(levels: npt.NDArray[np.uint16], bits: int = 16) -> GreyImage:
    """Scale grey levels to 8 bits.

    Cameras and scanners store 10, 12 or 14 bits in 16-bit files, often without saying so. Levels that use less than
    half of the range of `bits` are therefore scaled by the range that they use.

    Args:
        levels: uint16 (H, W); changed in place.
        bits: Declared bits of a level.

    Returns:
        uint8 (H, W); 0 is black and 255 is white.
    """
    black, white = 0, (1 << bits) - 1
    low, high = used_range(levels)
    if bits > 8 and _MIN_LEVELS <= high - low <= white // 2:
        black, white = low, high
        np.subtract(np.maximum(levels, black), black, out=levels)
    return np.asarray(cv2.convertScaleAbs(levels, alpha=_WHITE / (white - black)), dtype=np.uint8)


def used_range(levels: npt.NDArray[Any]) -> tuple[int, int]:
    """Return the levels below and above which a thousandth of the pixels lies.

    Args:
        levels: uint8 or uint16 (H, W).
    """
    size = 1 << 8 * levels.itemsize
    counts = cv2.calcHist([levels], [0], None, [size], [0, size])[:, 0]
    below = np.cumsum(counts, dtype=np.float64) / levels.size
    return int(np.searchsorted(below, _IGNORED_SHARE, "right")), int(np.searchsorted(below, 1 - _IGNORED_SHARE))
