"""Prediction sets: the emotions that hold the label with a chosen frequency (split conformal prediction)."""

from __future__ import annotations

from collections.abc import Mapping

# The coverages for which `training evaluate --write` stores thresholds.
COVERAGES = (0.8, 0.9, 0.95)


def prediction_set(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> tuple[str, ...]:
    """Return the emotions whose score reaches their threshold, most probable first.

    Args:
        scores: Calibrated probability (0 to 1) of each label.
        thresholds: Smallest score (0 to 1) of each label that belongs to the set.

    Returns:
        At least one label: the most probable label always belongs to the set.

    Reference:
        Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers With Bounded Error Levels", 2019.
    """
    ordered = sorted(scores, key=scores.__getitem__, reverse=True)
    return (ordered[0], *(label for label in ordered[1:] if scores[label] >= thresholds[label]))
