"""Plots of all systems in the leaderboard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from adjustText import adjust_text
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from app.contract.labels import LABELS
from training.drawing import save_figure
from training.evaluation.plots import draw_confusion, shares_of_true_label

_LIGHT_FROM = 0.6  # cells of the heat map from this F1 on are light, so their text is black
_SHEET_COLUMNS = 4


def plot_accuracy_against_latency(systems: Sequence[tuple[str, float, float]], path: Path) -> None:
    """Draw one point per system and the Pareto front: the systems that no faster system matches in accuracy.

    Args:
        systems: Name, accuracy (0 to 1) and milliseconds per face of each system.
        path: PNG file to write.
    """
    figure, axes = plt.subplots(figsize=(11, 6.5), layout="constrained")
    front: list[tuple[float, float]] = []
    names = []
    for name, accuracy, latency in sorted(systems, key=lambda system: (system[2], -system[1])):
        axes.scatter(latency, accuracy, s=36, color="tab:blue", zorder=3)
        names.append(axes.text(latency, accuracy, name, fontsize=8))
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    latencies, accuracies = zip(*front, strict=True)
    axes.step(latencies, accuracies, where="post", color="tab:orange", alpha=0.7, label="Pareto front")
    axes.set_xscale("log")
    axes.margins(x=0.1)  # room for the last name
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="milliseconds per face on one core", ylabel="accuracy on PublicTest and PrivateTest")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
    figure.draw_without_rendering()  # adjust_text needs the final layout
    adjust_text(names, ax=axes, expand=(1.1, 1.5), arrowprops={"arrowstyle": "-", "color": "grey", "lw": 0.5})
    save_figure(figure, path)


def plot_class_heat_map(names: Sequence[str], scores: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the F1 of each label (columns) for each system (rows).

    Args:
        names: Names of the systems.
        scores: F1 (0 to 1) by label, one mapping per system.
        path: PNG file to write.
    """
    values = np.array([[score[label] for label in LABELS] for score in scores])
    figure, axes = plt.subplots(figsize=(8.5, 1.6 + 0.36 * len(names)), layout="constrained")
    drawn = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        colour = "white" if values[row, column] < _LIGHT_FROM else "black"
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(LABELS)), LABELS)
    axes.set_yticks(range(len(names)), names)
    axes.set(title="F1 per emotion on PublicTest and PrivateTest")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="F1")
    save_figure(figure, path)


def plot_confusion_sheet(titles: Sequence[str], confusions: Sequence[Sequence[Sequence[int]]], path: Path) -> None:
    """Draw the confusion matrices of all systems on one sheet, in percent of each true label.

    Args:
        titles: One title per system.
        confusions: One matrix (7, 7) per system. Rows are true labels, columns are predictions.
        path: PNG file to write.
    """
    columns = min(_SHEET_COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.4 * columns + 1, 3.7 * rows), layout="constrained", squeeze=False
    )
    for axes in panels.flat[len(titles) :]:
        axes.set_axis_off()
    for axes, title, confusion in zip(panels.flat, titles, confusions, strict=False):
        shares = shares_of_true_label(confusion)
        drawn = draw_confusion(axes, shares, [[f"{share * 100:.0f}" for share in row] for row in shares], font_size=6)
        axes.set_xticks(range(len(LABELS)), LABELS, rotation=60, fontsize=6)
        axes.set_yticks(range(len(LABELS)), LABELS, fontsize=6)
        axes.set_title(title, fontsize=9)
    figure.supxlabel("predicted label")
    figure.supylabel("true label")
    figure.colorbar(drawn, ax=panels, shrink=0.5, format=PercentFormatter(1.0), label="share of the true label")
    save_figure(figure, path)
