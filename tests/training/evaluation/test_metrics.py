"""The edges of the figures: bins, intervals, temperature; the small case by hand is test_figures'."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.metrics import expected_calibration_error, measure, negative_log_likelihood, wilson_interval


def scores(*rows: tuple[float, ...]) -> np.ndarray:
    """Rows of seven that start with what is given; the rest shares what is left."""
    return np.array([[*row, *[(1 - sum(row)) / (7 - len(row))] * (7 - len(row))] for row in rows])


def test_negative_log_likelihood_by_hand():
    labels = np.array([0, 1], dtype=np.int64)
    expected = -(math.log(0.5) + math.log(0.25)) / 2
    assert negative_log_likelihood(scores((0.5,), (0.5, 0.25)), labels) == pytest.approx(expected)


def test_negative_log_likelihood_of_an_impossible_label_is_finite():
    value = negative_log_likelihood(np.eye(7)[:1], np.array([3], dtype=np.int64))
    assert math.isfinite(value)
    assert value > 700


def test_calibration_error_weighs_its_bins_by_their_images():
    # Three sure and right (error 0), one half sure and wrong (error 0.5): a quarter of 0.5.
    rows, labels = scores((1.0,), (1.0,), (1.0,), (0.5,)), np.array([0, 0, 0, 4], dtype=np.int64)
    assert expected_calibration_error(rows, labels) == pytest.approx(0.125)


def test_calibration_error_averages_within_a_bin_before_it_compares():
    # One bin (0.8 to 0.867): mean confidence 0.83, half are right. By image it would be (0.18 + 0.84) / 2.
    rows, labels = scores((0.82,), (0.84,)), np.array([0, 5], dtype=np.int64)
    assert expected_calibration_error(rows, labels) == pytest.approx(0.33)


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(5, 10, (0.2366, 0.7634)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (81, 263, (0.2553, 0.3662))],
)
def test_wilson_interval_known_values(successes, trials, expected):
    # The last: Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-4)


def test_measure_temperature_changes_confidence_only():
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


def test_measure_without_twins_says_nothing_of_them():
    logits, labels = np.eye(7, dtype=np.float32), np.arange(7)
    measured = measure(logits, labels, 1.0)
    assert measured.accuracy_without_training_twins is None
    assert measured.accuracy == measured.macro_f1 == 1.0
    assert measured.confusion == tuple(tuple(int(row == column) for column in range(7)) for row in range(7))


def test_measure_label_never_predicted_has_no_precision():
    labels = np.array([0, 1, 1], dtype=np.int64)
    measured = measure(np.eye(7, dtype=np.float32)[[0, 0, 0]], labels, 1.0)
    disgust = measured.per_class["disgust"]
    assert (disgust.precision, disgust.recall, disgust.f1, disgust.support) == (0, 0, 0, 2)
    assert measured.macro_recall == pytest.approx(1 / 7)


def test_measure_confusion_has_true_labels_in_rows():
    measured = measure(np.eye(7, dtype=np.float32)[[2, 2]], np.array([5, 5], dtype=np.int64), 1.0)
    assert measured.confusion[5][2] == 2
    assert measured.confusion[2][5] == 0
