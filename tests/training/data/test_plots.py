"""Plots of the dataset are written and their figures are closed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.images import read_plot
from training.data.plots import plot_counts, plot_samples

pytestmark = pytest.mark.usefixtures("all_figures_closed")


def test_plot_counts_accepts_any_number_of_splits(tmp_path):
    for names in (["Training"], ["Training", "PublicTest", "PrivateTest"]):
        plot_counts({name: range(10, 17) for name in names}, tmp_path / "counts.png")
        assert read_plot(tmp_path / "counts.png").std() > 5


def test_plot_samples_draws_every_image_and_leaves_missing_images_white(tmp_path):
    black = np.zeros((32, 48, 48), np.uint8)  # two whole rows
    plot_samples([black[: 32 if code == 0 else code] for code in range(7)], tmp_path / "samples.png")
    image = read_plot(tmp_path / "samples.png")
    panels = np.array_split(image[:, 105:], 7)  # without the labels
    black_shares = [float((panel < 50).mean()) for panel in panels]
    relative = np.array(black_shares) / black_shares[1]
    assert relative.tolist() == pytest.approx([32, 1, 2, 3, 4, 5, 6], rel=0.05)


def test_plot_samples_without_images_is_white(tmp_path):
    plot_samples([np.zeros((0, 48, 48), np.uint8)] * 7, tmp_path / "samples.png")
    assert (read_plot(tmp_path / "samples.png")[:, 105:] > 250).all()
