"""Metrics of one split as aligned text for the terminal."""

from __future__ import annotations

from app.contract.manifest import SplitMetrics


def classification_table(metrics: SplitMetrics) -> str:
    """Return precision, recall and F1 of every label, their averages and the accuracy, as aligned text."""
    lines = [f"{'':>10} {'precision':>10} {'recall':>10} {'f1':>10} {'images':>10}"]
    for label, row in metrics.per_class.items():
        lines.append(f"{label:>10} {row.precision:>10.3f} {row.recall:>10.3f} {row.f1:>10.3f} {row.support:>10}")
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
