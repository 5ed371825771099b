"""Tests for differences between groups: cases with and without a difference, and the rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from training.errors import TrainingError
from training.evaluation.groups import NO_VALUE, compare_groups, group_names, holm, permutation_p_value
from training.evaluation.metrics import wilson_interval
from training.evaluation.text_report import group_table, verdict


def made_case(accuracies: dict[str, float], images: int, seed: int = 0):
    """Return correct, labels and groups: each group has `images` images and its own true accuracy."""
    generator = np.random.default_rng(seed)
    names = np.repeat(list(accuracies), images)
    shares = np.repeat(list(accuracies.values()), images)
    return generator.random(len(names)) < shares, generator.integers(0, 7, len(names)), names.tolist()


def test_real_difference_is_found():
    correct, labels, names = made_case({"bright": 0.8, "middle": 0.78, "dark": 0.6}, 400)
    (comparison,) = compare_groups(correct, labels, {"light": names})
    assert comparison.differs
    assert comparison.differs_within_labels
    dark = next(group for group in comparison.groups if group.name == "dark")
    assert dark.images == 400
    assert dark.interval == wilson_interval(int(correct[800:].sum()), 400)
    assert dark.p_value < 0.001
    assert "differs between the groups by more than chance" in verdict(comparison)
    assert "also among images of the same label" in verdict(comparison)
    assert "dark" in group_table(comparison)


def test_no_difference_is_not_found():
    correct, labels, names = made_case({"a": 0.7, "b": 0.7, "c": 0.7}, 400)
    (comparison,) = compare_groups(correct, labels, {"half": names})
    assert not comparison.differs
    assert not comparison.differs_within_labels
    assert 0.07 < comparison.detectable < 0.09
    assert "no difference larger than chance" in verdict(comparison)
    assert "a difference below 8%" in verdict(comparison)


def test_false_alarms_over_many_columns_are_rare(monkeypatch):
    monkeypatch.setattr("training.evaluation.groups._PERMUTATIONS", 2000)  # ten times faster, and enough for 5 %
    found = 0
    for seed in range(30):
        correct, labels, _ = made_case({"all": 0.7}, 300, seed)
        generator = np.random.default_rng(1000 + seed)
        columns = {f"column {place}": generator.choice(list("abc"), 300).tolist() for place in range(3)}
        found += any(comparison.differs for comparison in compare_groups(correct, labels, columns))
    assert found <= 5  # 5 % of 30 are expected at most, and 6 or more have a probability below 0.4 %


def test_p_values_of_all_columns_are_corrected_together():
    correct, labels, first = made_case({"a": 0.75, "b": 0.65}, 200)
    second = np.random.default_rng(1).choice(list("xyz"), 400).tolist()
    raw = [
        permutation_p_value(correct, np.array(names), strata) for names in (first, second) for strata in (None, labels)
    ]
    comparisons = compare_groups(correct, labels, {"first": first, "second": second})
    found = [p for each in comparisons for p in (each.p_value, each.p_value_within_labels)]
    assert found == holm(raw)
    assert found != raw


def test_difference_by_other_expressions_is_named():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2000)
    names = np.where(generator.random(2000) < np.where(labels == 0, 0.8, 0.2), "young", "old")
    correct = generator.random(2000) < np.where(labels == 0, 0.9, 0.5)
    (comparison,) = compare_groups(correct, labels, {"age": names.tolist()})
    assert comparison.differs
    assert not comparison.differs_within_labels
    assert "the groups show other expressions" in verdict(comparison)


def test_difference_hidden_by_other_expressions_is_named():
    labels = np.repeat([0, 1, 0, 1], [800, 200, 200, 800])
    names = ["a"] * 1000 + ["b"] * 1000
    generator = np.random.default_rng(0)
    shares = np.repeat([0.72, 0.72, 1.0, 0.65], [800, 200, 200, 800])
    (comparison,) = compare_groups(generator.random(2000) < shares, labels, {"place": names})
    assert not comparison.differs
    assert comparison.differs_within_labels
    assert "it differs among images of the same label" in verdict(comparison)


def test_p_value_agrees_with_the_chi_square_test():
    correct, _, names = made_case({"a": 0.7, "b": 0.66, "c": 0.63}, 300, seed=4)
    table = [[int(correct[i : i + 300].sum()), 300 - int(correct[i : i + 300].sum())] for i in (0, 300, 600)]
    expected = chi2_contingency(table).pvalue
    assert permutation_p_value(correct, np.array(names)) == pytest.approx(expected, abs=0.03)


def test_p_value_of_a_small_group_beside_large_ones():
    """The large groups deviate by more images, but the small one deviates by more than chance."""
    sizes, right = (40, 2000, 2000), (18, 1420, 1380)
    names = np.repeat(["small", "large", "other"], sizes)
    correct = np.concatenate([np.arange(size) < count for size, count in zip(sizes, right, strict=True)])
    assert chi2_contingency([right, np.subtract(sizes, right)]).pvalue < 0.02
    assert permutation_p_value(correct, names) < 0.02


def test_extreme_and_constant_cases():
    all_right = np.ones(40, dtype=np.bool_)
    names = np.array(["a", "b"] * 20)
    assert permutation_p_value(all_right, names) == 1
    assert permutation_p_value(names == "a", names) < 0.001


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_small_groups_and_missing_values_are_shown_and_not_tested():
    correct, labels, names = made_case({"a": 0.7, "b": 0.7}, 50)
    names[0:5], names[50:55] = ["rare"] * 5, [""] * 5
    (comparison,) = compare_groups(correct, labels, {"age": names})
    by_name = {group.name: group for group in comparison.groups}
    assert [group.name for group in comparison.groups] == ["a", "b", "rare", NO_VALUE]
    assert by_name["a"].p_value is not None
    assert by_name["rare"].p_value is None
    assert by_name[NO_VALUE].p_value is None
    assert "not tested" in group_table(comparison)


def test_one_group_is_not_tested():
    correct, labels, names = made_case({"a": 0.7}, 50)
    (comparison,) = compare_groups(correct, labels, {"age": names})
    assert comparison.p_value is None
    assert "not tested. Expected at least two groups of 10 images" in verdict(comparison)


def test_numbers_are_divided_into_thirds():
    values = [str(value) for value in range(90)] + [""]
    names = group_names("brightness", values)
    assert [str(name) for name in sorted(set(names))] == [
        NO_VALUE,
        "1: up to 29.67",
        "2: above 29.67 up to 59.33",
        "3: above 59.33",
    ]
    assert [(names == name).sum() for name in sorted(set(names))] == [1, 30, 30, 30]


def test_too_many_texts_are_refused():
    with pytest.raises(
        TrainingError, match=r"--groups name: expected at most 20 values, or only numbers.*Received: 21"
    ):
        group_names("name", [f"person {index}" for index in range(21)])
