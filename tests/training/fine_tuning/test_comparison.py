"""Before and after on the same test images: the right verdict, and a warning when the test split cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.labelled import EvaluatedSplit
from training.evaluation.metrics import measure
from training.evaluation.significance import SIGNIFICANCE, mcnemar
from training.fine_tuning.comparison import compare, detectable_difference, size_warning, table, verdict


def split_with(correct: np.ndarray) -> EvaluatedSplit:
    labels = np.arange(len(correct), dtype=np.int64) % 7
    predicted = np.where(correct, labels, (labels + 1) % 7)
    logits = np.eye(7, dtype=np.float32)[predicted] * 5
    return EvaluatedSplit("test", logits, labels, measure(logits, labels, 1.0), ())


def compared(images: int, before: int, after: int):
    """Both models are correct on the first images, so that all differences are in one direction."""
    order = np.arange(images)
    return compare(split_with(order < before), split_with(order < after))


def test_verdict_better_by_more_than_chance():
    sentence = verdict(compared(1000, 700, 760))
    assert sentence.startswith(
        "The fine-tuned model is better by more than chance: +6.0 points (95 % interval +4.5 to +7.5"
    )


def test_verdict_worse_by_more_than_chance():
    assert verdict(compared(1000, 760, 700)).startswith(
        "The fine-tuned model is worse by more than chance: -6.0 points"
    )


def test_verdict_within_chance_says_what_can_go_unnoticed():
    sentence = verdict(compared(50, 30, 33))
    assert "within chance: +6.0 points" in sentence
    assert "p = 0.25" in sentence
    assert "With these 50 images, a difference below about 9.7 points can go unnoticed." in sentence
    assert "within chance: +0.0 points" in verdict(compared(50, 30, 30))


def test_two_models_that_swap_errors_are_within_chance():
    order = np.arange(400)
    result = compare(split_with(order >= 40), split_with(order < 355))
    assert (result.paired.only_first, result.paired.only_second) == (45, 40)
    assert not result.differs


def test_size_warning_names_the_number_of_images_that_is_needed():
    assert size_warning(1186) is None
    warning = size_warning(100)
    assert "expected at least 628 images, to find a difference of 5%. Received: 100" in warning
    assert "below about 13% can go unnoticed" in warning
    assert size_warning(628) is None
    assert size_warning(627) is not None


def test_detectable_difference_is_found_with_a_power_of_80_percent():
    """Simulate McNemar's test at the detectable difference."""
    images, discordance = 1000, 0.2
    difference = detectable_difference(images)
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        kinds = generator.choice(
            3, images, p=[1 - discordance, (discordance - difference) / 2, (discordance + difference) / 2]
        )
        found += mcnemar(kinds != 2, kinds != 1).p_value < SIGNIFICANCE
    assert found / 300 == pytest.approx(0.8, abs=0.08)


def test_table_shows_labels_with_images_only():
    labels = np.array([3, 3, 4, 4])
    logits = np.eye(7, dtype=np.float32)[labels]
    split = EvaluatedSplit("test", logits, labels, measure(logits, labels, 1.0), ())
    text = table(compare(split, split))
    assert "recall of happy    1.000    1.000" in text
    assert "disgust" not in text
