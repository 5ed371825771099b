"""Plots and tables that a person reads: curves, confusion matrices, class reports. Draws what it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.manifest import SplitMetrics

mpl.use("Agg")  # files only: no window system is needed

from adjustText import adjust_text
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

_DPI = 120
_SAMPLE_COLUMNS = 16
_SAMPLE_GAP_PX = 2


def plot_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draws loss, accuracy and learning rate by epoch.

    Args:
        history: One entry per epoch, as in `RunState.history`.
        path: The PNG to write.
    """
    epochs = np.arange(1, len(history) + 1)
    figure, (loss_axes, accuracy_axes, rate_axes) = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    # Legends stand where the curves do not: "best" is sought by time, and warns on a busy machine.
    places = ((loss_axes, "loss", "upper right"), (accuracy_axes, "accuracy", "lower right"))
    for axes, key, place in places:
        axes.plot(epochs, [entry[key] for entry in history], color="tab:blue", label="Training (augmented)")
        axes.plot(epochs, [entry[f"val_{key}"] for entry in history], color="tab:orange", label="PublicTest")
        axes.set(title=key.capitalize(), xlabel="epoch")
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
    rate_axes.set(title="Learning rate at the end of the epoch", xlabel="epoch")
    for axes in (loss_axes, accuracy_axes, rate_axes):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_confusion(confusion: Sequence[Sequence[int]], title: str, path: Path) -> None:
    """Draws a confusion matrix twice: counts, and shares of each true label.

    Args:
        confusion: (7, 7); rows are true labels, columns predictions.
        title: What was measured.
        path: The PNG to write.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, panels = plt.subplots(1, 2, figsize=(14, 6.2), layout="constrained")
    cells = [[f"{count}" for count in row] for row in counts], [[f"{share:.0%}" for share in row] for row in shares]
    for axes, texts, heading in zip(panels, cells, ("images", "share of the true label"), strict=True):
        drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row in range(len(LABELS)):
            for column in range(len(LABELS)):
                colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004  (middle of the scale)
                axes.text(column, row, texts[row][column], ha="center", va="center", color=colour)
        axes.set_xticks(range(len(LABELS)), LABELS, rotation=30, ha="right")
        axes.set_yticks(range(len(LABELS)), LABELS)
        axes.set(title=heading, xlabel="predicted", ylabel="true")
    figure.colorbar(drawn, ax=panels, shrink=0.8, label="share of the true label")
    figure.suptitle(title)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_reliability(metrics: SplitMetrics, title: str, path: Path) -> None:
    """Draws accuracy against confidence, and how many images have which confidence.

    Args:
        metrics: Of one split, after calibration.
        title: What was measured.
        path: The PNG to write.
    """
    bins = metrics.reliability
    confidence = [row.confidence for row in bins]
    figure, (axes, counts) = plt.subplots(2, 1, figsize=(6, 7), height_ratios=(4, 1), sharex=True, layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="honest")
    axes.plot(confidence, [row.accuracy for row in bins], "o-", color="tab:blue", label=f"model, ECE {metrics.ece:.3f}")
    axes.set(title=title, ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    counts.bar(confidence, [row.images for row in bins], width=0.05, color="tab:blue")
    counts.set(xlabel="confidence", ylabel="images")
    for panel in (axes, counts):
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_counts(counts: Mapping[str, Sequence[int]], path: Path) -> None:
    """Draws the images of every label, a group of bars for each split.

    Args:
        counts: Seven numbers by split name, in label order.
        path: The PNG to write.
    """
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    width = 0.8 / len(counts)
    places = np.arange(len(LABELS))
    for index, (split, numbers) in enumerate(counts.items()):
        bars = axes.bar(places + (index - (len(counts) - 1) / 2) * width, numbers, width, label=split)
        axes.bar_label(bars, fontsize=7, padding=2)
    axes.set_xticks(places, LABELS)
    axes.set(ylabel="images", title="FER2013: images of each label")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_samples(samples: Sequence[npt.NDArray[np.uint8]], path: Path) -> None:
    """Draws sample images, a grid for each label: rows of 16, with space for missing ones left white.

    Args:
        samples: Seven arrays uint8 (N, H, W), in label order; N may differ.
        path: The PNG to write.
    """
    rows = max(1, math.ceil(max(len(images) for images in samples) / _SAMPLE_COLUMNS))
    figure, panels = plt.subplots(len(samples), 1, figsize=(12.5, len(samples) * (rows * 0.75 + 0.12)), squeeze=False)
    for label, images, axes in zip(LABELS, samples, panels[:, 0], strict=True):
        axes.imshow(_tiled(images, rows), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        axes.text(-0.008, 0.5, label, transform=axes.transAxes, ha="right", va="center", fontsize=13)
    figure.subplots_adjust(left=0.075, right=0.995, top=0.995, bottom=0.005, hspace=0.05)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _tiled(images: npt.NDArray[np.uint8], rows: int) -> npt.NDArray[np.uint8]:
    """Images side by side on white, left to right and top to bottom, with a line of white between them."""
    height, width = images.shape[1] + _SAMPLE_GAP_PX, images.shape[2] + _SAMPLE_GAP_PX
    sheet = np.full((rows * height - _SAMPLE_GAP_PX, _SAMPLE_COLUMNS * width - _SAMPLE_GAP_PX), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, _SAMPLE_COLUMNS)
        sheet[row * height :, column * width :][: image.shape[0], : image.shape[1]] = image
    return sheet


def classification_table(metrics: SplitMetrics) -> str:
    """Precision, recall and F1 of every label, and the averages, as aligned text."""
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


def plot_accuracy_against_latency(systems: Sequence[tuple[str, float, float]], path: Path) -> None:
    """Draws one point for each system; those that nothing else beats in both are joined.

    Args:
        systems: Name, accuracy (0 to 1) and milliseconds for one face of each.
        path: The PNG to write.
    """
    figure, axes = plt.subplots(figsize=(11, 6.5), layout="constrained")
    best: list[tuple[float, float]] = []
    names = []
    for name, accuracy, latency in sorted(systems, key=lambda system: (system[2], -system[1])):
        axes.scatter(latency, accuracy, s=36, color="tab:blue", zorder=3)
        names.append(axes.text(latency, accuracy, name, fontsize=8))
        if not best or accuracy > best[-1][1]:
            best.append((latency, accuracy))
    axes.step(*zip(*best, strict=True), where="post", color="tab:orange", alpha=0.7, label="nothing faster is better")
    axes.set_xscale("log")
    axes.margins(x=0.1)  # room for the last name
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="milliseconds per face, one core", ylabel="accuracy on PublicTest and PrivateTest")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
    figure.draw_without_rendering()  # the layout, within which the names then find their places
    adjust_text(names, ax=axes, expand=(1.1, 1.5), arrowprops={"arrowstyle": "-", "color": "grey", "lw": 0.5})
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_class_heat_map(names: Sequence[str], scores: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws F1 of every label (columns) for every system (rows).

    Args:
        names: Of the systems.
        scores: F1 by label, 0 to 1, for each.
        path: The PNG to write.
    """
    values = np.array([[score[label] for label in LABELS] for score in scores])
    figure, axes = plt.subplots(figsize=(8.5, 1.6 + 0.36 * len(names)), layout="constrained")
    drawn = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        colour = "white" if values[row, column] < 0.6 else "black"  # noqa: PLR2004  (where the scale turns light)
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(LABELS)), LABELS)
    axes.set_yticks(range(len(names)), names)
    axes.set(title="F1 of each emotion, PublicTest and PrivateTest")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_confusion_sheet(titles: Sequence[str], confusions: Sequence[Sequence[Sequence[int]]], path: Path) -> None:
    """Draws many confusion matrices on one sheet, as shares of each true label.

    Args:
        titles: One for each.
        confusions: (7, 7) each; rows are true labels, columns predictions.
        path: The PNG to write.
    """
    columns = min(4, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.4 * columns + 1, 3.7 * rows), layout="constrained", squeeze=False
    )
    for axes in panels.flat[len(titles) :]:
        axes.set_axis_off()
    for axes, title, confusion in zip(panels.flat, titles, confusions, strict=False):
        counts = np.asarray(confusion, dtype=np.int64)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*shares.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004  (middle of the scale)
            axes.text(
                column, row, f"{shares[row, column] * 100:.0f}", ha="center", va="center", color=colour, fontsize=6
            )
        axes.set_xticks(range(len(LABELS)), LABELS, rotation=60, fontsize=6)
        axes.set_yticks(range(len(LABELS)), LABELS, fontsize=6)
        axes.set_title(title, fontsize=9)
    figure.colorbar(drawn, ax=panels, shrink=0.5, format=PercentFormatter(1.0), label="share of the true label (rows)")
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def save_axes(axes: Any, path: Path) -> None:
    """Writes the figure of axes, or of an array of them, that a library drew, as a PNG, and closes it."""
    figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
    figure.savefig(path, dpi=_DPI, bbox_inches="tight")
    plt.close(figure)
