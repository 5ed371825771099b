"""Temperature scaling: one divisor of the logits that calibrates the probabilities."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from app.contract.scores import probabilities
from training.evaluation.metrics import negative_log_likelihood

_RANGE = (0.05, 20.0)


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature with the lowest negative log-likelihood.

    Args:
        logits: float32 (N, 7) of images that the network was not trained on.
        labels: int64 (N,), FER2013 codes.

    Returns:
        Between 0.05 and 20, rounded to four decimals.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    found = minimize_scalar(
        lambda exponent: negative_log_likelihood(probabilities(logits, math.exp(exponent)), labels),
        bounds=(math.log(_RANGE[0]), math.log(_RANGE[1])),
        method="bounded",
    )
    return round(math.exp(float(found.x)), 4)
