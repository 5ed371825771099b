"""Thresholds of prediction sets by split conformal prediction, and their measurement.

An emotion belongs to the set of a face if its calibrated score reaches a threshold. The threshold is a quantile of the
scores that the true labels have on PublicTest. With one threshold for all emotions, rare emotions fall short of the
coverage. So each emotion gets its own threshold, unless that misses the coverage of all images: the most probable
emotion always belongs to the set, which holds the label of happy faces more often than a low coverage asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.manifest import PredictionSets, SetMetrics
from app.contract.prediction_sets import COVERAGES

# Largest difference between the coverage of all images and the coverage that was asked for.
TOLERANCE = 0.015
_HALVINGS = 20  # random halves of the calibration images that decide about the method
_DIGITS = 4

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Thresholds = npt.NDArray[np.float64]


def calibrate(scores: Scores, labels: Labels, seed: int = 0) -> dict[str, PredictionSets]:
    """Return the thresholds for each coverage.

    Args:
        scores: float64 (N, 7), calibrated probabilities of images that the network was not trained on.
        labels: int64 (N,), FER2013 codes; every emotion occurs.
        seed: Seed of the random halves that decide about the method.

    Reference:
        Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers With Bounded Error Levels", 2019.
    """
    calibrated = {}
    for coverage in COVERAGES:
        expected = _expected_coverage(scores, labels, coverage, seed)
        by_class = abs(expected - coverage) <= TOLERANCE
        thresholds = (by_class_thresholds if by_class else marginal_thresholds)(scores, labels, coverage)
        calibrated[str(coverage)] = PredictionSets(
            method="class_conditional" if by_class else "marginal",
            thresholds={label: float(value) for label, value in zip(LABELS, thresholds, strict=True)},
        )
    return calibrated


def marginal_thresholds(scores: Scores, labels: Labels, coverage: float) -> Thresholds:
    """Return the same threshold for all emotions, float64 (7,)."""
    return np.full(len(LABELS), _threshold(scores[np.arange(len(labels)), labels], coverage))


def by_class_thresholds(scores: Scores, labels: Labels, coverage: float) -> Thresholds:
    """Return one threshold for each emotion, float64 (7,)."""
    return np.array([_threshold(scores[labels == code, code], coverage) for code in range(len(LABELS))])


def measure_sets(scores: Scores, labels: Labels, sets: PredictionSets) -> SetMetrics:
    """Return the coverage and the mean size of prediction sets.

    Args:
        scores: float64 (N, 7), calibrated probabilities.
        labels: int64 (N,), FER2013 codes.
        sets: Thresholds.
    """
    members = _members(scores, np.array([sets.thresholds[label] for label in LABELS]))
    covered = members[np.arange(len(labels)), labels]
    return SetMetrics(
        coverage=round(float(covered.mean()), _DIGITS),
        mean_size=round(float(members.sum(axis=1).mean()), _DIGITS),
        coverage_by_emotion={
            label: round(float(covered[labels == code].mean()), _DIGITS)
            for code, label in enumerate(LABELS)
            if (labels == code).any()
        },
    )


def with_measurement(
    sets: Mapping[str, PredictionSets], split: str, scores: Scores, labels: Labels
) -> dict[str, PredictionSets]:
    """Return the sets with their measurement on one more split."""
    return {
        coverage: each.model_copy(update={"measured": each.measured | {split: measure_sets(scores, labels, each)}})
        for coverage, each in sets.items()
    }


def _expected_coverage(scores: Scores, labels: Labels, coverage: float, seed: int) -> float:
    """Return the coverage of class-conditional sets on images that did not calibrate them."""
    generator = np.random.default_rng(seed)
    measured = []
    for _ in range(_HALVINGS):
        calibrating = np.zeros(len(labels), dtype=bool)
        for code in range(len(LABELS)):  # half of each emotion, so that each half has every emotion
            indices = generator.permutation(np.flatnonzero(labels == code))
            calibrating[indices[: math.ceil(len(indices) / 2)]] = True
        thresholds = by_class_thresholds(scores[calibrating], labels[calibrating], coverage)
        members = _members(scores[~calibrating], thresholds)
        measured.append(members[np.arange(len(members)), labels[~calibrating]].mean())
    return float(np.mean(measured))


def _threshold(true_scores: Scores, coverage: float) -> float:
    """Return the score that a share of true labels reaches, with the correction for a finite sample."""
    outside = len(true_scores) - math.ceil((len(true_scores) + 1) * coverage)
    if outside < 0:  # too few images for this coverage: every score belongs to the set
        return 0.0
    lowest_inside = float(np.sort(true_scores)[outside])
    scale = 10.0**_DIGITS
    return math.floor(lowest_inside * scale) / scale  # rounded down, so that the label stays in the set


def _members(scores: Scores, thresholds: Thresholds) -> npt.NDArray[np.bool_]:
    members = scores >= thresholds
    members[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return members
