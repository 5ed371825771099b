"""Conversion of logits into calibrated probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def probabilities(logits: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Return the softmax of logits divided by a temperature.

    Args:
        logits: (N, 7), any float dtype.
        temperature: Greater than 0. With 1 the confidence is that of the network; larger values lower it.

    Returns:
        float64 (N, 7). Every row sums to 1.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    normalised: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalised
