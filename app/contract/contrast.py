"""Contrast of a face crop: the network receives crops of a minimum contrast, so that the light changes no answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Crops with a lower standard deviation are stretched. `python -m benchmarks.dark_crops` measures the constants.
MIN_DEVIATION = 35.0
_USUAL_MEAN = 128.0
# Crops with a lower deviation have few grey levels, so that stretching alone would make steps of the network's input.
_COARSE_DEVIATION = 12.0
_NEIGHBOUR_WEIGHT = 0.1  # of each neighbour in the smoothing of such crops
_FLAT_DEVIATION = 0.5  # a crop of one grey level has no contrast to stretch


def with_min_contrast(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Stretch the grey levels of crops with a low contrast, as in dark or hazy images; return other crops unchanged.

    A crop just below the limit changes by about one grey level. The darker a crop, the closer its mean moves to that of
    usual crops. Crops of few grey levels are smoothed a little.

    Args:
        crops: uint8 (..., H, W, 1), any number of leading axes.

    Returns:
        uint8, the shape of `crops`.
    """
    axes = (-3, -2, -1)
    mean = crops.mean(axis=axes, keepdims=True, dtype=np.float32)
    deviation = crops.std(axis=axes, keepdims=True, dtype=np.float32)
    low = (deviation < MIN_DEVIATION) & (deviation >= _FLAT_DEVIATION)
    if not low.any():
        return crops
    gain = MIN_DEVIATION / np.maximum(deviation, _FLAT_DEVIATION)
    target_mean = mean + (1 - deviation / MIN_DEVIATION) * (_USUAL_MEAN - mean)
    smooth = np.where(deviation < _COARSE_DEVIATION, _smoothed(crops), crops)
    stretched = (smooth - mean) * gain + target_mean
    return np.where(low, np.rint(stretched).clip(0, 255), crops).astype(np.uint8)


def _smoothed(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return crops, float32, in which each pixel takes a part of its four neighbours; the edge is repeated."""
    values = crops.astype(np.float32)
    for axis in (-3, -2):
        padded = np.pad(values, [(1, 1) if axis == other else (0, 0) for other in range(-values.ndim, 0)], mode="edge")
        before, after = (np.delete(padded, ends, axis=axis) for ends in ([-2, -1], [0, 1]))
        values = (1 - 2 * _NEIGHBOUR_WEIGHT) * values + _NEIGHBOUR_WEIGHT * (before + after)
    return values.astype(np.float32)
