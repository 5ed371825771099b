"""Detection confidence on the scale that the other services use."""

from __future__ import annotations

_MIN_WEIGHT = 0.01  # a detected face must not get 0, which means "no face" to clients


def to_probability_scale(weight: float) -> float:
    """Map the weight of a detection to a number above 0 and below 1. Larger weights stay larger.

    The result is not a probability: the cascade does not estimate one. Examples: 1 becomes 0.5, 9 becomes 0.9 and 99
    becomes 0.99.

    Args:
        weight: The cascade's weight of the detection, 0 or more.
    """
    weight = max(weight, _MIN_WEIGHT)
    return weight / (weight + 1)
