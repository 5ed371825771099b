"""Metrics against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.metrics import (
    expected_calibration_error,
    measure,
    negative_log_likelihood,
    reliability,
    wilson_interval,
)


def logits_for(*predicted: int, margin: float = 5.0) -> np.ndarray:
    """Logits (N, 7) whose largest entry is the predicted label."""
    return np.eye(7, dtype=np.float32)[list(predicted)] * margin


def scores(*rows: tuple[float, ...]) -> np.ndarray:
    """Probabilities (N, 7): each row begins with the given values and shares the rest equally."""
    return np.array([[*row, *[(1 - sum(row)) / (7 - len(row))] * (7 - len(row))] for row in rows])


def test_measure_small_case():
    labels = np.array([0, 0, 0, 3, 3, 6], dtype=np.int64)
    in_training = np.array([False, False, True, False, False, True])
    measured = measure(logits_for(0, 0, 3, 3, 3, 0), labels, 1.0, in_training)
    assert measured.accuracy == pytest.approx(4 / 6)
    assert measured.accuracy_without_duplicates == pytest.approx(1.0)
    assert measured.per_class["angry"].precision == pytest.approx(2 / 3)
    assert measured.per_class["angry"].recall == pytest.approx(2 / 3)
    assert measured.per_class["happy"].precision == pytest.approx(2 / 3)
    assert measured.per_class["happy"].recall == pytest.approx(1)
    assert measured.per_class["happy"].f1 == pytest.approx(0.8)
    assert measured.per_class["neutral"].precision == 0
    assert measured.macro_f1 == pytest.approx((2 / 3 + 0.8) / 3)  # of the three labels that have images
    assert measured.confusion[0] == (2, 0, 0, 1, 0, 0, 0)
    assert measured.confusion[6] == (1, 0, 0, 0, 0, 0, 0)
    assert sum(row.support for row in measured.per_class.values()) == 6


def test_negative_log_likelihood_small_case():
    labels = np.array([0, 1], dtype=np.int64)
    expected = -(math.log(0.5) + math.log(0.25)) / 2
    assert negative_log_likelihood(scores((0.5,), (0.5, 0.25)), labels) == pytest.approx(expected)


def test_negative_log_likelihood_of_probability_zero_is_finite():
    value = negative_log_likelihood(np.eye(7)[:1], np.array([3], dtype=np.int64))
    assert math.isfinite(value)
    assert value > 700


def test_calibration_error_of_calibrated_and_of_overconfident_scores():
    labels = np.zeros(1000, dtype=np.int64)
    labels[700:] = 1  # 70 % correct
    calibrated, overconfident = np.full((1000, 7), 0.05), np.full((1000, 7), 0.001)
    calibrated[:, 0], overconfident[:, 0] = 0.7, 0.994
    assert expected_calibration_error(calibrated, labels) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(overconfident, labels) == pytest.approx(0.294)


def test_calibration_error_weights_bins_by_their_images():
    # Three images with confidence 1 are correct (error 0), one with confidence 0.5 is wrong (error 0.5).
    rows, labels = scores((1.0,), (1.0,), (1.0,), (0.5,)), np.array([0, 0, 0, 4], dtype=np.int64)
    assert expected_calibration_error(rows, labels) == pytest.approx(0.125)


def test_calibration_error_averages_within_a_bin():
    # One bin (0.8 to 0.867): mean confidence 0.83, accuracy 0.5. By image it would be (0.18 + 0.84) / 2.
    rows, labels = scores((0.82,), (0.84,)), np.array([0, 5], dtype=np.int64)
    assert expected_calibration_error(rows, labels) == pytest.approx(0.33)


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        (5, 10, (0.2366, 0.7634)),
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (2512, 3589, (0.6848, 0.7147)),
        # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
        (81, 263, (0.2553, 0.3662)),
    ],
)
def test_wilson_interval_known_values(successes, trials, expected):
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-4)


def test_temperature_changes_only_the_calibrated_metrics():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 4, size=(200, 7)).astype(np.float32)
    labels = generator.integers(0, 7, size=200)
    plain, softened = measure(logits, labels, 1.0), measure(logits, labels, 4.0)
    assert softened.nll < plain.nll
    assert softened.ece < plain.ece
    assert softened.nll_before_temperature == plain.nll_before_temperature == plain.nll
    assert softened.ece_before_temperature == plain.ece_before_temperature == plain.ece
    calibrated = {"nll", "ece", "reliability"}
    assert softened.model_dump(exclude=calibrated) == plain.model_dump(exclude=calibrated)


def test_accuracy_without_duplicates_is_optional():
    logits, labels = np.eye(7, dtype=np.float32), np.arange(7)
    measured = measure(logits, labels, 1.0)
    assert measured.accuracy_without_duplicates is None
    assert measured.accuracy == measured.macro_f1 == 1.0
    assert measured.confusion == tuple(tuple(int(row == column) for column in range(7)) for row in range(7))


def test_label_that_is_never_predicted_has_precision_zero():
    labels = np.array([0, 1, 1], dtype=np.int64)
    measured = measure(logits_for(0, 0, 0), labels, 1.0)
    disgust = measured.per_class["disgust"]
    assert (disgust.precision, disgust.recall, disgust.f1, disgust.support) == (0, 0, 0, 2)
    assert measured.macro_recall == pytest.approx(1 / 2)


def test_confusion_has_true_labels_in_rows():
    measured = measure(logits_for(2, 2), np.array([5, 5], dtype=np.int64), 1.0)
    assert measured.confusion[5][2] == 2
    assert measured.confusion[2][5] == 0


def test_a_confidence_of_1_belongs_to_the_last_bin():
    labels = np.zeros(2, dtype=np.int64)
    (last,) = reliability(scores((1.0,), (0.98,)), labels)
    assert (last.images, last.accuracy) == (2, 1.0)
    assert last.confidence == pytest.approx(0.99)
