"""Accuracy by group, and tests for differences that are larger than chance.

One permutation test answers each question. It keeps the sizes of the groups and the number of correct predictions, and
asks how often random groups differ as much as the real ones. Permuting within each label shows whether a difference
remains when the groups show other expressions. All p-values of one evaluation are corrected by Holm's method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError
from training.evaluation.metrics import wilson_interval
from training.evaluation.significance import POWER_QUANTILES, SIGNIFICANCE

NO_VALUE = "(no value)"
MIN_TESTED = 10  # smaller groups are shown and not tested
_PERMUTATIONS = 20_000
_SEED = 1
_MAX_GROUPS = 20
_BINS = 3

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """One group.

    Attributes:
        name: Value of the column.
        images: Number of images.
        accuracy: 0 to 1.
        interval: Wilson's 95 % interval of the accuracy.
        p_value: Of the comparison with all other groups, corrected for the number of groups; None if not tested.
    """

    name: str
    images: int
    accuracy: float
    interval: tuple[float, float]
    p_value: float | None


@dataclass(frozen=True)
class GroupComparison:
    """The groups of one column.

    Attributes:
        column: Name of the column.
        groups: Sorted by name; images without a value come last.
        p_value: Of the null hypothesis that all groups have one accuracy, corrected; None with fewer than two groups
            that can be tested.
        p_value_within_labels: The same, with comparisons only between images of the same label.
        detectable: Difference between the smallest tested group and the others that a test finds in 80 % of cases.
    """

    column: str
    groups: tuple[Group, ...]
    p_value: float | None
    p_value_within_labels: float | None
    detectable: float | None

    @property
    def differs(self) -> bool:
        """Whether the accuracies differ by more than chance."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE

    @property
    def differs_within_labels(self) -> bool:
        """Whether the accuracies differ by more than chance among images of the same label."""
        return self.p_value_within_labels is not None and self.p_value_within_labels < SIGNIFICANCE


def compare_groups(
    correct: Correct, labels: npt.NDArray[np.int64], columns: Mapping[str, Sequence[str]]
) -> tuple[GroupComparison, ...]:
    """Compare the accuracy between the groups of each column.

    Args:
        correct: bool (N,), whether the prediction equals the label.
        labels: int64 (N,).
        columns: Column -> N values. Numbers with more than 20 values are divided into thirds.

    Raises:
        TrainingError: A column of texts has more than 20 values.
    """
    named = {column: group_names(column, values) for column, values in columns.items()}
    tested = {column: _tested(names) for column, names in named.items()}
    p_values: list[float] = []
    for column, mask in tested.items():
        if len(set(named[column][mask])) > 1:
            arguments = correct[mask], named[column][mask]
            p_values += [permutation_p_value(*arguments), permutation_p_value(*arguments, strata=labels[mask])]
    corrected = iter(holm(p_values))
    results = []
    for column, mask in tested.items():
        names = named[column]
        testable = len(set(names[mask])) > 1
        overall, within = (next(corrected), next(corrected)) if testable else (None, None)
        results.append(
            GroupComparison(
                column, _groups(correct, names, mask, testable), overall, within, _detectable(correct, names[mask])
            )
        )
    return tuple(results)


def group_names(column: str, values: Sequence[str]) -> npt.NDArray[np.str_]:
    """Return the group of each image: its value, or the third that its number falls into.

    Args:
        column: For the message.
        values: N texts.

    Raises:
        TrainingError: There are more than 20 values, and not all are numbers.
    """
    names = np.array([value.strip() or NO_VALUE for value in values], dtype=np.str_)
    distinct = sorted(set(names) - {NO_VALUE})
    if len(distinct) <= _MAX_GROUPS:
        return names
    known = names != NO_VALUE
    try:
        numbers = names[known].astype(np.float64)
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise TrainingError(
            f"--groups {column}: expected at most {_MAX_GROUPS} values, or only numbers, which are divided into thirds."
            f" Received: {len(distinct)} values, such as {', '.join(map(repr, distinct[:3]))}"
        )
    limits = np.unique(np.quantile(numbers, np.arange(1, _BINS) / _BINS))
    edges = [f"{limit:.4g}" for limit in limits]
    ranges = [f"1: up to {edges[0]}"]
    ranges += [f"{place}: above {low} up to {high}" for place, (low, high) in enumerate(pairwise(edges), start=2)]
    ranges.append(f"{len(edges) + 1}: above {edges[-1]}")
    binned = np.array(ranges, dtype=object)[np.searchsorted(limits, numbers)]
    result = names.astype(object)
    result[known] = binned
    return result.astype(np.str_)


def permutation_p_value(
    correct: Correct, names: npt.NDArray[np.str_], strata: npt.NDArray[np.int64] | None = None
) -> float:
    """Test whether the accuracy is the same in all groups.

    A random assignment of the images to groups gives numbers of correct predictions with a multivariate hypergeometric
    distribution, so no image needs to be moved. The statistic is the sum of squared standardised deviations.

    Args:
        correct: bool (N,).
        names: Group of each image, N.
        strata: int64 (N,). Images are assigned to groups within each stratum only. None: one stratum.

    Returns:
        Share of 20,000 random assignments that differ at least as much, with 1 added to both counts.
    """
    strata = np.zeros(len(correct), dtype=np.int64) if strata is None else strata
    generator = np.random.default_rng(_SEED)
    _, codes = np.unique(names, return_inverse=True)
    groups = int(codes.max()) + 1
    observed = np.bincount(codes, weights=correct, minlength=groups)
    expected, variance = np.zeros(groups), np.zeros(groups)
    drawn = np.zeros((_PERMUTATIONS, groups))
    for stratum in np.unique(strata):
        members = strata == stratum
        sizes = np.bincount(codes[members], minlength=groups)
        right, count = int(correct[members].sum()), int(members.sum())
        drawn += generator.multivariate_hypergeometric(sizes, right, size=_PERMUTATIONS, method="marginals")
        expected += sizes * right / count
        if count > 1:
            variance += sizes * right * (count - right) * (count - sizes) / (count**2 * (count - 1))
    weights = np.divide(1.0, variance, out=np.zeros(groups), where=variance > 0)
    statistic = float((observed - expected) ** 2 @ weights)
    as_large = ((drawn - expected) ** 2 @ weights) >= statistic - 1e-9
    return (1 + int(as_large.sum())) / (1 + _PERMUTATIONS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number.

    Reference:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _tested(names: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    distinct, inverse, counts = np.unique(names, return_inverse=True, return_counts=True)
    mask: npt.NDArray[np.bool_] = ((counts >= MIN_TESTED) & (distinct != NO_VALUE))[inverse]
    return mask


def _groups(
    correct: Correct, names: npt.NDArray[np.str_], mask: npt.NDArray[np.bool_], testable: bool
) -> tuple[Group, ...]:
    ordered = sorted(set(names), key=lambda name: (name == NO_VALUE, name))
    tested = [name for name in ordered if testable and name in names[mask]]
    corrected = dict(
        zip(
            tested,
            holm([permutation_p_value(correct[mask], (names[mask] == name).astype(np.str_)) for name in tested]),
            strict=True,
        )
    )
    groups = []
    for name in ordered:
        hits, images = int(correct[names == name].sum()), int((names == name).sum())
        groups.append(Group(str(name), images, hits / images, wilson_interval(hits, images), corrected.get(name)))
    return tuple(groups)


def _detectable(correct: Correct, names: npt.NDArray[np.str_]) -> float | None:
    counts = np.unique(names, return_counts=True)[1]
    if len(counts) < 2:  # noqa: PLR2004
        return None
    smallest, others, accuracy = int(counts.min()), len(names) - int(counts.min()), float(correct.mean())
    return POWER_QUANTILES * math.sqrt(accuracy * (1 - accuracy) * (1 / smallest + 1 / others))
