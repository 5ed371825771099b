"""Plots of a model are written and their figures are closed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.images import read_plot
from training.evaluation.metrics import measure
from training.evaluation.plots import plot_confusion, plot_curves, plot_reliability

pytestmark = pytest.mark.usefixtures("all_figures_closed")


def entry(epoch: int) -> dict[str, float]:
    return {
        "loss": 2 - epoch / 10,
        "accuracy": epoch / 20,
        "val_loss": 2.1 - epoch / 10,
        "val_accuracy": epoch / 25,
        "learning_rate": 0.1,
    }


@pytest.mark.parametrize("epochs", [1, 12])
def test_plot_curves_with_one_and_with_many_epochs(tmp_path, epochs):
    plot_curves([entry(epoch) for epoch in range(epochs)], tmp_path / "curves.png")
    assert read_plot(tmp_path / "curves.png").std() > 5


def test_plot_confusion_shades_by_share_of_the_true_label(tmp_path):
    counts = np.full((7, 7), 1)
    np.fill_diagonal(counts, 1000)
    plot_confusion(counts.tolist(), "a title", tmp_path / "right.png")
    plot_confusion(np.zeros((7, 7), int).tolist(), "no image", tmp_path / "none.png")
    right, none = read_plot(tmp_path / "right.png"), read_plot(tmp_path / "none.png")
    dark_blue = np.array([107, 48, 8])  # end of the colour map, as BGR
    share = [(np.abs(image.astype(int) - dark_blue).max(axis=2) < 12).mean() for image in (right, none)]
    assert share[0] > 10 * share[1]


def test_plot_reliability_with_a_single_bin(tmp_path):
    measured = measure(np.eye(7, dtype=np.float32)[[0, 1]], np.array([0, 2], dtype=np.int64), 1.0)
    plot_reliability(measured, "a title", tmp_path / "reliability.png")
    assert read_plot(tmp_path / "reliability.png").std() > 5
