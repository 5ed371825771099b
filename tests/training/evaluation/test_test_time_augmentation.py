"""Augmented copies of test images, and the mean of their probabilities."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import training.evaluation.test_time_augmentation as augmentation_module
from app.contract.scores import probabilities
from training.data.splits import Split
from training.evaluation.test_time_augmentation import accuracy_with_augmentation, augmented_copies


def test_copies_are_the_image_its_mirror_image_and_the_corners():
    images = np.random.default_rng(0).integers(0, 256, size=(2, 48, 48, 1), dtype=np.uint8)
    flips = list(augmented_copies(images, "flip"))
    assert len(flips) == 2
    np.testing.assert_array_equal(flips[0], images)
    np.testing.assert_array_equal(flips[1], images[:, :, ::-1])
    crops = list(augmented_copies(images, "ten_crop"))
    assert len(crops) == 10
    assert {crop.shape for crop in crops} == {images.shape}
    assert len({crop.tobytes() for crop in crops}) == 10
    np.testing.assert_array_equal(crops[2][:, 4:, 4:], images[:, :44, :44])


def test_accuracy_uses_the_mean_of_the_probabilities(dataset, monkeypatch):
    weights = np.random.default_rng(0).normal(0, 1e-4, size=(48 * 48, 7))
    temperature = 1.7

    def classify(crops) -> np.ndarray:
        return probabilities(np.stack(crops).reshape(len(crops), -1) @ weights, temperature)

    monkeypatch.setattr(augmentation_module, "EmotionSession", lambda *arguments: SimpleNamespace(classify=classify))
    data = dataset[Split.PUBLIC_TEST]
    mean = (classify(list(data.images)) + classify(list(data.images[:, :, ::-1]))) / 2
    expected = (mean.argmax(axis=1) == data.labels).mean()
    assert accuracy_with_augmentation("model.onnx", dataset, [Split.PUBLIC_TEST], "flip") == pytest.approx(expected)
