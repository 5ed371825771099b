"""Metrics against hand-computed cases; calibration; twins; the audit."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.labels import LABELS
from app.contract.scores import probabilities
from tests.support.datasets import tiny_dataset
from tests.support.paths import SHARED_DATA, needs_shared_data
from training.data.duplicates import Duplicates, conflicting_twins, duplicates_within, twins_of
from training.data.explore import explore
from training.data.fer2013 import Fer2013, Split, SplitData, load_fer2013
from training.evaluation.metrics import expected_calibration_error, measure, negative_log_likelihood, wilson_interval
from training.evaluation.plots import classification_table
from training.export.temperature import fit_temperature


def logits_for(predicted: list[int], margin: float = 5.0) -> np.ndarray:
    return np.eye(len(LABELS), dtype=np.float32)[predicted] * margin


def test_measure_small_case_by_hand():
    labels = np.array([0, 0, 0, 3, 3, 6], dtype=np.int64)
    twin = np.array([False, False, True, False, False, True])
    measured = measure(logits_for([0, 0, 3, 3, 3, 0]), labels, 1.0, twin)
    assert measured.accuracy == pytest.approx(4 / 6)
    assert measured.accuracy_without_training_twins == pytest.approx(1.0)
    assert measured.per_class["angry"].precision == pytest.approx(2 / 3)
    assert measured.per_class["angry"].recall == pytest.approx(2 / 3)
    assert measured.per_class["happy"].precision == pytest.approx(2 / 3)
    assert measured.per_class["happy"].recall == pytest.approx(1)
    assert measured.per_class["happy"].f1 == pytest.approx(0.8)
    assert measured.per_class["neutral"].precision == 0
    assert measured.macro_f1 == pytest.approx((2 / 3 + 0.8) / 7)
    assert measured.confusion[0] == (2, 0, 0, 1, 0, 0, 0)
    assert measured.confusion[6] == (1, 0, 0, 0, 0, 0, 0)
    assert sum(row.support for row in measured.per_class.values()) == 6
    assert "66.67%" in classification_table(measured)


def test_wilson_interval_known_value():
    low, high = wilson_interval(2512, 3589)
    assert (low, high) == pytest.approx((0.6848, 0.7147), abs=1e-4)


def test_calibration_error_of_honest_and_of_boastful_scores():
    labels = np.zeros(1000, dtype=np.int64)
    labels[700:] = 1  # right in 70 of 100
    honest, boastful = np.full((1000, 7), 0.05), np.full((1000, 7), 0.001)
    honest[:, 0], boastful[:, 0] = 0.7, 0.994
    assert expected_calibration_error(honest, labels) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(boastful, labels) == pytest.approx(0.294)


def test_fit_temperature_finds_what_the_logits_were_multiplied_by():
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, size=(4000, 7))
    labels = np.array([generator.choice(7, p=row) for row in probabilities(honest, 1.0)])
    for factor in (0.5, 1.0, 3.0):
        assert fit_temperature((honest * factor).astype(np.float32), labels) == pytest.approx(factor, rel=0.08)
    sharp = (honest * 3).astype(np.float32)
    before = negative_log_likelihood(probabilities(sharp, 1.0), labels)
    after = negative_log_likelihood(probabilities(sharp, fit_temperature(sharp, labels)), labels)
    assert after < before


def split_of(levels: list[int], labels: list[int]) -> SplitData:
    images = np.stack([np.full((48, 48, 1), level, np.uint8) for level in levels])
    return SplitData(images, np.array(labels, dtype=np.int64), tuple(map(str, range(len(levels)))))


def test_duplicates_within_counts_surplus_groups_and_conflicts():
    split = split_of([1, 1, 1, 2, 2, 3], [0, 0, 0, 1, 2, 3])
    assert duplicates_within(split) == Duplicates(groups=2, surplus=3, conflicting=1)


def test_twins_are_found_by_pixels_not_by_names():
    training, other = split_of([1, 2, 2], [0, 1, 2]), split_of([5, 2, 1, 2], [0, 1, 4, 6])
    assert twins_of(training, other).tolist() == [False, True, True, True]
    assert conflicting_twins(training, other) == 2


def test_explore_writes_the_audit_and_its_plots(tmp_path, capsys):
    audit = explore(tiny_dataset(), tmp_path)
    assert audit["splits"]["Training"]["counts"]["angry"] == 10
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "counts.png", "samples.png"}
    printed = capsys.readouterr().out
    assert "PrivateTest: 0 images stand in Training too" in printed


@needs_shared_data
def test_twins_of_the_real_data_are_those_known():
    dataset: Fer2013 = load_fer2013(SHARED_DATA / "fer2013.zip")
    training = dataset[Split.TRAINING]
    assert duplicates_within(training).surplus == 1236
    assert int(twins_of(training, dataset[Split.PUBLIC_TEST]).sum()) == 280
    assert int(twins_of(training, dataset[Split.PRIVATE_TEST]).sum()) == 288
