"""Calibration and measurement of prediction sets on made scores."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.labels import LABELS
from app.contract.prediction_sets import COVERAGES
from training.evaluation.prediction_sets import calibrate, marginal_thresholds, measure_sets, with_measurement


def made_scores(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated scores of a classifier that knows some emotions better than others, and true labels."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(7, size=images, p=[0.14, 0.03, 0.14, 0.24, 0.17, 0.12, 0.16])
    certainty = np.array([1.5, 0.8, 0.7, 3.0, 1.1, 2.2, 1.6])
    logits = generator.normal(size=(images, 7))
    logits[np.arange(images), labels] += certainty[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores, labels


def test_prediction_sets_hold_the_label_as_often_as_asked_on_new_images():
    sets = calibrate(*made_scores(4000, seed=1))
    scores, labels = made_scores(20_000, seed=2)
    assert set(sets) == {str(coverage) for coverage in COVERAGES}
    for coverage in COVERAGES:
        measured = measure_sets(scores, labels, sets[str(coverage)])
        assert measured.coverage == pytest.approx(coverage, abs=0.02)
        assert 1 <= measured.mean_size < 7
        assert set(measured.coverage_by_emotion) == set(LABELS)


def test_class_conditional_sets_cover_emotions_that_marginal_sets_do_not_cover():
    calibration, (scores, labels) = made_scores(4000, seed=1), made_scores(20_000, seed=2)
    sets = calibrate(*calibration)["0.9"]
    assert sets.method == "class_conditional"
    marginal = sets.model_copy(
        update={"thresholds": dict(zip(LABELS, marginal_thresholds(*calibration, 0.9), strict=True))}
    )
    assert min(measure_sets(scores, labels, marginal).coverage_by_emotion.values()) < 0.85
    assert min(measure_sets(scores, labels, sets).coverage_by_emotion.values()) > 0.86


def test_calibrate_is_marginal_if_the_most_probable_emotion_exceeds_the_coverage():
    """Class-conditional sets of a very certain classifier hold the label more often than a low coverage asks for."""
    scores, labels = made_scores(4000, seed=3)
    is_certain = labels == LABELS.index("happy")
    scores[is_certain] = np.eye(7)[labels[is_certain]] * 0.94 + 0.01
    assert calibrate(scores, labels)["0.8"].method == "marginal"


def test_emotion_with_few_images_belongs_to_every_set():
    scores, labels = made_scores(2000, seed=4)
    kept = (labels != 1) | (np.cumsum(labels == 1) <= 5)  # five images cannot show a coverage of 95 %
    assert calibrate(scores[kept], labels[kept])["0.95"].thresholds["disgust"] == 0


def test_with_measurement_adds_a_split():
    scores, labels = made_scores(2000, seed=5)
    sets = with_measurement(calibrate(scores, labels), "PublicTest", scores, labels)
    sets = with_measurement(sets, "PrivateTest", scores, labels)
    assert list(sets["0.9"].measured) == ["PublicTest", "PrivateTest"]
