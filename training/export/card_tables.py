"""Markdown tables of metrics for the model card and for the studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.contract.labels import LABELS
from app.contract.manifest import PredictionSets, SplitMetrics


def accuracy_table(metrics: Mapping[str, SplitMetrics]) -> str:
    """Return a table with one row per split."""
    lines = [
        "| split | images | accuracy | 95 % interval | without duplicates | macro F1 | macro precision"
        " | macro recall |",
        "| --- |" + " ---: |" * 7,
    ]
    for split, row in metrics.items():
        low, high = row.accuracy_interval
        without = row.accuracy_without_duplicates
        lines.append(
            f"| {split} | {row.images} | **{row.accuracy:.2%}** | {low:.2%} to {high:.2%}"
            f" | {'' if without is None else f'{without:.2%}'} | {row.macro_f1:.3f} | {row.macro_precision:.3f}"
            f" | {row.macro_recall:.3f} |"
        )
    return "\n".join(lines)


def class_table(metrics: SplitMetrics) -> str:
    """Return a table with one row per label."""
    lines = ["| emotion | precision | recall | F1 | images |", "| --- |" + " ---: |" * 4]
    for label, row in metrics.per_class.items():
        lines.append(f"| {label} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.support} |")
    return "\n".join(lines)


def confusion_table(metrics: SplitMetrics) -> str:
    """Return the confusion matrix as a table; rows are true labels, columns are predictions."""
    lines = ["| | " + " | ".join(LABELS) + " |", "| --- |" + " ---: |" * len(LABELS)]
    for label, row in zip(LABELS, metrics.confusion, strict=True):
        lines.append(f"| **{label}** | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def calibration_rows(metrics: Mapping[str, SplitMetrics]) -> str:
    """Return one table row per split with the calibration metrics."""
    return "\n".join(
        f"| {split} | {row.ece_before_temperature:.3f} | {row.ece:.3f} | {row.nll_before_temperature:.3f}"
        f" | {row.nll:.3f} |"
        for split, row in metrics.items()
    )


def prediction_set_rows(prediction_sets: Mapping[str, PredictionSets]) -> str:
    """Return one table row per coverage and split, with the coverage of each emotion."""
    rows = []
    for asked, sets in prediction_sets.items():
        for split, measured in sets.measured.items():
            by_emotion = " | ".join(f"{measured.coverage_by_emotion[label]:.1%}" for label in LABELS)
            rows.append(
                f"| {float(asked):.0%} | {split} | {sets.method.replace('_', ' ')} | {measured.coverage:.1%}"
                f" | {measured.mean_size:.2f} | {by_emotion} |"
            )
    return "\n".join(rows)


def robustness_rows(robustness: Mapping[str, float], accuracy: float) -> str:
    """Return one table row per corruption with the accuracy and the loss against the uncorrupted images."""
    return "\n".join(
        f"| {name} | {corrupted:.2%} | {(accuracy - corrupted) * 100:.1f} |" for name, corrupted in robustness.items()
    )


def seeds_table(summary: Mapping[str, Any]) -> str:
    """Return the result of `training.studies.seeds.measure_seeds` as a table."""
    lines = [
        f"| {summary['recipe']}, {summary['precision']} | mean | standard deviation |"
        + "".join(f" seed {seed} |" for seed in summary["seeds"]),
        "| --- |" + " ---: |" * (2 + len(summary["seeds"])),
    ]
    for name, figure in summary["figures"].items():
        values = (figure["mean"], figure["deviation"], *figure["values"])
        digits = ".2%" if "accuracy" in name else ".3f"
        lines.append(f"| {name} | " + " | ".join(format(value, digits) for value in values) + " |")
    return "\n".join(lines)
