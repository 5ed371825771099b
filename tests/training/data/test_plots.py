"""Plots of the dataset are written and their figures are closed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib import pyplot as plt

from training.data.plots import plot_counts, plot_samples


@pytest.fixture(autouse=True)
def all_figures_closed():
    yield
    assert plt.get_fignums() == []


def read(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_plot_counts_accepts_any_number_of_splits(tmp_path):
    for names in (["Training"], ["Training", "PublicTest", "PrivateTest"]):
        plot_counts({name: range(10, 17) for name in names}, tmp_path / "counts.png")
        assert read(tmp_path / "counts.png").std() > 5


def test_plot_samples_draws_every_image_and_leaves_missing_images_white(tmp_path):
    black = np.zeros((32, 48, 48), np.uint8)  # two whole rows
    plot_samples([black[: 32 if code == 0 else code] for code in range(7)], tmp_path / "samples.png")
    image = read(tmp_path / "samples.png")
    panels = np.array_split(image[:, 105:], 7)  # without the labels
    black_shares = [float((panel < 50).mean()) for panel in panels]
    relative = np.array(black_shares) / black_shares[1]
    assert relative.tolist() == pytest.approx([32, 1, 2, 3, 4, 5, 6], rel=0.05)


def test_plot_samples_without_images_is_white(tmp_path):
    plot_samples([np.zeros((0, 48, 48), np.uint8)] * 7, tmp_path / "samples.png")
    assert (read(tmp_path / "samples.png")[:, 105:] > 250).all()
