"""Plots of a dataset: label counts and sample images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt

from app.contract.labels import LABELS
from training.drawing import save_figure

_COLUMNS = 16
_GAP_PX = 2


def plot_counts(counts: Mapping[str, Sequence[int]], path: Path, title: str = "FER2013: images per label") -> None:
    """Draw the number of images of each label as bars, grouped by label.

    Args:
        counts: Seven counts in label order, by split name.
        path: PNG file to write.
        title: Title of the plot.
    """
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    width = 0.8 / len(counts)
    positions = np.arange(len(LABELS))
    for index, (split, numbers) in enumerate(counts.items()):
        bars = axes.bar(positions + (index - (len(counts) - 1) / 2) * width, numbers, width, label=split)
        axes.bar_label(bars, fontsize=7, padding=2)
    axes.set_xticks(positions, LABELS)
    axes.set(ylabel="images", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right")
    save_figure(figure, path)


def plot_samples(samples: Sequence[npt.NDArray[np.uint8]], path: Path) -> None:
    """Draw sample images in one grid per label, 16 images per row. Missing images stay white.

    Args:
        samples: Seven arrays uint8 (N, H, W), in label order. N may differ between labels.
        path: PNG file to write.
    """
    rows = max(1, math.ceil(max(len(images) for images in samples) / _COLUMNS))
    figure, panels = plt.subplots(len(samples), 1, figsize=(12.5, len(samples) * (rows * 0.75 + 0.12)), squeeze=False)
    for label, images, axes in zip(LABELS, samples, panels[:, 0], strict=True):
        axes.imshow(_grid(images, rows), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        axes.text(-0.008, 0.5, label, transform=axes.transAxes, ha="right", va="center", fontsize=13)
    figure.subplots_adjust(left=0.075, right=0.995, top=0.995, bottom=0.005, hspace=0.05)
    save_figure(figure, path)


def _grid(images: npt.NDArray[np.uint8], rows: int) -> npt.NDArray[np.uint8]:
    """Return one white image uint8 that contains the images row by row, with a white gap between neighbours."""
    height, width = images.shape[1] + _GAP_PX, images.shape[2] + _GAP_PX
    grid = np.full((rows * height - _GAP_PX, _COLUMNS * width - _GAP_PX), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, _COLUMNS)
        grid[row * height :, column * width :][: image.shape[0], : image.shape[1]] = image
    return grid
