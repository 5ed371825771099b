"""Metrics of one split as aligned text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from app.contract.manifest import SetMetrics, SplitMetrics
from training.evaluation.groups import MIN_TESTED, Group, GroupComparison
from training.evaluation.metrics import wilson_interval


def classification_table(metrics: SplitMetrics) -> str:
    """Return precision, recall and F1 of every label, their averages and the accuracy, as aligned text.

    Labels without images are left out. Intervals of recall and accuracy are Wilson's 95 % intervals.
    """
    lines = [f"{'':>10} {'precision':>10} {'recall':>10} {'f1':>10} {'images':>10}  {'95 % of recall'}"]
    for label, row in metrics.per_class.items():
        if not row.support:
            continue
        low, high = wilson_interval(round(row.recall * row.support), row.support)
        lines.append(
            f"{label:>10} {row.precision:>10.3f} {row.recall:>10.3f} {row.f1:>10.3f} {row.support:>10}"
            f"  {low:.3f} to {high:.3f}"
        )
    lines.append(
        f"{'macro':>10} {metrics.macro_precision:>10.3f} {metrics.macro_recall:>10.3f} {metrics.macro_f1:>10.3f}"
        f" {metrics.images:>10}"
    )
    low, high = metrics.accuracy_interval
    lines.append(
        f"accuracy {metrics.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}),"
        f" NLL {metrics.nll:.3f}, ECE {metrics.ece:.3f}"
    )
    return "\n".join(lines)


def group_table(comparison: GroupComparison) -> str:
    """Return the accuracy of each group, and the verdict of the test, as aligned text."""
    width = max(len(comparison.column), *(len(group.name) for group in comparison.groups))
    lines = [f"{comparison.column:<{width}} {'images':>8} {'accuracy':>9}  {'95 % interval':<17} against the others"]
    for group in comparison.groups:
        low, high = group.interval
        interval = f"{low:.1%} to {high:.1%}"
        lines.append(
            f"{group.name:<{width}} {group.images:>8} {group.accuracy:>9.1%}  {interval:<17} {_group_verdict(group)}"
        )
    return "\n".join([*lines, verdict(comparison)])


def prediction_set_table(measured: Mapping[str, SetMetrics]) -> str:
    """Return the measured coverage of the prediction sets of each coverage, as aligned text."""
    lines = [f"{'coverage asked':>14} {'measured':>9} {'mean size':>10}  lowest of an emotion"]
    for asked, row in measured.items():
        label, lowest = min(row.coverage_by_emotion.items(), key=lambda item: item[1])
        lines.append(f"{float(asked):>14.0%} {row.coverage:>9.1%} {row.mean_size:>10.2f}  {lowest:.1%} ({label})")
    return "\n".join(lines)


def verdict(comparison: GroupComparison) -> str:
    """Return one sentence: whether the accuracies of the groups differ by more than chance."""
    column = comparison.column
    if comparison.p_value is None or comparison.p_value_within_labels is None or comparison.detectable is None:
        return f"{column}: not tested. Expected at least two groups of {MIN_TESTED} images."
    overall = f"p = {comparison.p_value:.2g}, corrected for all tests"
    within = f"p = {comparison.p_value_within_labels:.2g}"
    if comparison.differs and comparison.differs_within_labels:
        return (
            f"{column}: the accuracy differs between the groups by more than chance ({overall}), also among"
            f" images of the same label ({within})."
        )
    if comparison.differs:
        return (
            f"{column}: the accuracy differs between the groups by more than chance ({overall}), but not among"
            f" images of the same label ({within}): the groups show other expressions."
        )
    if comparison.differs_within_labels:
        return (
            f"{column}: the accuracy over all images does not differ by more than chance ({overall}), but it differs"
            f" among images of the same label ({within})."
        )
    return (
        f"{column}: no difference larger than chance ({overall}). With these numbers a difference below"
        f" {comparison.detectable:.0%} between the smallest group and the others can go unnoticed."
    )


def _group_verdict(group: Group) -> str:
    return "not tested" if group.p_value is None else f"p = {group.p_value:.2g}"
