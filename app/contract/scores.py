"""From logits to calibrated probabilities. numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def probabilities(logits: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Softmax of logits divided by a temperature.

    Args:
        logits: Any float dtype, (N, 7).
        temperature: Above 0; 1 leaves the network's own confidence, more than 1 softens it.

    Returns:
        float64 (N, 7), every row summing to 1.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    normalised: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalised
