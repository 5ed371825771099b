"""Plots of one model: learning curves, confusion matrix, reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from app.contract.labels import LABELS
from app.contract.manifest import SplitMetrics
from training.drawing import save_figure
from training.evaluation.groups import GroupComparison

_MIDDLE_OF_SCALE = 0.5  # cells above it are dark, so their text is white


def plot_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw loss, accuracy and learning rate by epoch.

    Args:
        history: One entry per epoch, as in `RunState.history`.
        path: PNG file to write.
    """
    epochs = np.arange(1, len(history) + 1)
    figure, (loss_axes, accuracy_axes, rate_axes) = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    # Fixed places: matplotlib's "best" place is slow to find, and matplotlib warns about it.
    legends = ((loss_axes, "loss", "upper right"), (accuracy_axes, "accuracy", "lower right"))
    for axes, key, place in legends:
        axes.plot(epochs, [entry[key] for entry in history], color="tab:blue", label="Training (augmented)")
        axes.plot(epochs, [entry[f"val_{key}"] for entry in history], color="tab:orange", label="PublicTest")
        axes.set(title=key.capitalize(), xlabel="epoch", ylabel=key)
        axes.legend(loc=place)
    best = int(np.argmax([entry["val_accuracy"] for entry in history]))
    accuracy_axes.plot(best + 1, history[best]["val_accuracy"], "o", color="tab:orange")
    accuracy_axes.annotate(
        f"{history[best]['val_accuracy']:.1%}",
        (best + 1, history[best]["val_accuracy"]),
        textcoords="offset points",
        xytext=(0, -14),
        ha="right",
    )
    rate_axes.plot(epochs, [entry["learning_rate"] for entry in history], color="tab:green")
    rate_axes.set(title="Learning rate at the end of the epoch", xlabel="epoch", ylabel="learning rate")
    for axes in (loss_axes, accuracy_axes, rate_axes):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def plot_confusion(confusion: Sequence[Sequence[int]], title: str, path: Path) -> None:
    """Draw a confusion matrix twice: as counts and as shares of each true label.

    Args:
        confusion: (7, 7). Rows are true labels, columns are predictions.
        title: Model and split.
        path: PNG file to write.
    """
    shares = shares_of_true_label(confusion)
    figure, panels = plt.subplots(1, 2, figsize=(14, 6.2), layout="constrained")
    counts = [[f"{count}" for count in row] for row in confusion]
    percentages = [[f"{share:.0%}" for share in row] for row in shares]
    for axes, texts, heading in zip(panels, (counts, percentages), ("images", "share of the true label"), strict=True):
        drawn = draw_confusion(axes, shares, texts)
        axes.set_xticks(range(len(LABELS)), LABELS, rotation=30, ha="right")
        axes.set_yticks(range(len(LABELS)), LABELS)
        axes.set(title=heading, xlabel="predicted label", ylabel="true label")
    figure.colorbar(drawn, ax=panels, shrink=0.8, label="share of the true label")
    figure.suptitle(title)
    save_figure(figure, path)


def shares_of_true_label(confusion: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """Divide each row of a confusion matrix by its sum. A label without images gives zeros."""
    counts = np.asarray(confusion, dtype=np.int64)
    shares: npt.NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def draw_confusion(
    axes: Axes, shares: npt.NDArray[np.float64], texts: Sequence[Sequence[str]], font_size: float | None = None
) -> AxesImage:
    """Draw one matrix of shaded cells with a text in each cell.

    Args:
        axes: Target.
        shares: (7, 7), 0 to 1; gives the shade.
        texts: (7, 7) texts of the cells.
        font_size: In points; None for matplotlib's default.
    """
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*shares.shape):
        colour = "white" if shares[row, column] > _MIDDLE_OF_SCALE else "black"
        axes.text(column, row, texts[row][column], ha="center", va="center", color=colour, fontsize=font_size)
    return drawn


def plot_reliability(metrics: SplitMetrics, title: str, path: Path) -> None:
    """Draw accuracy against confidence, and the number of images in each confidence bin.

    Args:
        metrics: Metrics of one split, with calibrated probabilities.
        title: Model and split.
        path: PNG file to write.
    """
    bins = metrics.reliability
    confidence = [row.confidence for row in bins]
    figure, (axes, counts) = plt.subplots(2, 1, figsize=(6, 7), height_ratios=(4, 1), sharex=True, layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="perfect calibration")
    axes.plot(confidence, [row.accuracy for row in bins], "o-", color="tab:blue", label=f"model, ECE {metrics.ece:.3f}")
    axes.set(title=title, ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    counts.bar(confidence, [row.images for row in bins], width=0.05, color="tab:blue")
    counts.set(xlabel="confidence", ylabel="images")
    for panel in (axes, counts):
        panel.grid(alpha=0.3)
    save_figure(figure, path)


def plot_groups(comparisons: Sequence[GroupComparison], accuracy: float, title: str, path: Path) -> None:
    """Draw the accuracy of each group with its 95 % interval, one panel for each column.

    Args:
        comparisons: The columns.
        accuracy: Of all images; drawn as a line.
        title: Model and split.
        path: PNG file to write.
    """
    counts = [len(comparison.groups) for comparison in comparisons]
    figure, panels = plt.subplots(
        len(comparisons),
        1,
        figsize=(8, 1.2 + 0.45 * sum(counts) + 0.6 * len(counts)),
        height_ratios=counts,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, comparison in zip(panels[:, 0], comparisons, strict=True):
        places = np.arange(len(comparison.groups))
        shares = np.array([group.accuracy for group in comparison.groups])
        intervals = np.array([group.interval for group in comparison.groups])
        errors = np.abs(np.stack([shares - intervals[:, 0], intervals[:, 1] - shares]))
        axes.errorbar(shares, places, xerr=errors, fmt="o", color="tab:blue", capsize=3)
        axes.axvline(accuracy, color="grey", linestyle="--", linewidth=1)
        axes.set_yticks(places, [f"{group.name} ({group.images})" for group in comparison.groups])
        found = "differs by more than chance" if comparison.differs else "no difference larger than chance"
        found = "not tested" if comparison.p_value is None else found
        axes.set(title=f"{comparison.column}: {found}", ylim=(len(places) - 0.5, -0.5))
        axes.grid(alpha=0.3, axis="x")
    panels[-1, 0].set(xlabel="accuracy, 95 % interval")
    figure.suptitle(title)
    save_figure(figure, path)
