"""Plots are written, whole and closed; the table says what the metrics say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib import pyplot as plt

from app.contract.labels import LABELS
from training.evaluation.metrics import measure
from training.evaluation.plots import classification_table, plot_confusion, plot_counts, plot_curves, plot_samples


@pytest.fixture(autouse=True)
def nothing_left_open():
    yield
    assert plt.get_fignums() == []


def drawn(path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def entry(epoch: int) -> dict[str, float]:
    return {
        "loss": 2 - epoch / 10,
        "accuracy": epoch / 20,
        "val_loss": 2.1 - epoch / 10,
        "val_accuracy": epoch / 25,
        "learning_rate": 0.1,
    }


@pytest.mark.parametrize("epochs", [1, 12])
def test_plot_curves_draws_from_the_first_epoch_on(tmp_path, epochs):
    plot_curves([entry(epoch) for epoch in range(epochs)], tmp_path / "curves.png")
    assert drawn(tmp_path / "curves.png").std() > 5


def test_plot_confusion_shades_by_share_of_the_true_label(tmp_path):
    counts = np.full((7, 7), 1)
    np.fill_diagonal(counts, 1000)
    plot_confusion(counts.tolist(), "a title", tmp_path / "right.png")
    plot_confusion(np.zeros((7, 7), int).tolist(), "no image", tmp_path / "none.png")
    right, none = drawn(tmp_path / "right.png"), drawn(tmp_path / "none.png")
    dark_blue = np.array([107, 48, 8])  # the end of the colour map, in cv2's order
    share = [(np.abs(image.astype(int) - dark_blue).max(axis=2) < 12).mean() for image in (right, none)]
    assert share[0] > 10 * share[1]


def test_plot_counts_takes_any_number_of_splits(tmp_path):
    for names in (["Training"], ["Training", "PublicTest", "PrivateTest"]):
        plot_counts({name: range(10, 17) for name in names}, tmp_path / "counts.png")
        assert drawn(tmp_path / "counts.png").std() > 5


def test_plot_samples_draws_every_image_and_leaves_missing_ones_white(tmp_path):
    black = np.zeros((32, 48, 48), np.uint8)  # two whole rows
    plot_samples([black[: 32 if code == 0 else code] for code in range(7)], tmp_path / "samples.png")
    image = drawn(tmp_path / "samples.png")
    panels = np.array_split(image[:, 105:], 7)  # without the labels
    black_shares = [float((panel < 50).mean()) for panel in panels]
    in_one_unit = np.array(black_shares) / black_shares[1]
    assert in_one_unit.tolist() == pytest.approx([32, 1, 2, 3, 4, 5, 6], rel=0.05)


def test_plot_samples_without_any_image_is_white(tmp_path):
    plot_samples([np.zeros((0, 48, 48), np.uint8)] * 7, tmp_path / "samples.png")
    assert (drawn(tmp_path / "samples.png")[:, 105:] > 250).all()


def test_classification_table_has_a_row_for_every_label_and_the_averages():
    labels = np.array([0, 1, 1, 3], dtype=np.int64)
    table = classification_table(measure(np.eye(7, dtype=np.float32)[[0, 1, 0, 3]], labels, 1.0)).splitlines()
    assert [line.split()[0] for line in table[1:8]] == list(LABELS)
    assert table[1].split() == ["angry", "0.500", "1.000", "0.667", "1"]
    assert table[2].split() == ["disgust", "1.000", "0.500", "0.667", "2"]
    assert table[8].split()[-1] == "4"
    assert table[9].startswith("accuracy 75.00% (95 % interval 30.06% to 95.44%)")
