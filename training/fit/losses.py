"""The loss of the original labels and its targets, as the config selects them. The losses are those of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight

from app.contract.labels import LABELS
from training.config import LossConfig


def build_loss(config: LossConfig) -> keras.losses.Loss:
    """Return the loss on logits; `targets_for` returns its targets."""
    match config.name:
        case "cross_entropy":
            return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)
        case "sparse":
            return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        case "focal":
            # With alpha 1, only `class_weights` weights the classes, and gamma 0 is plain cross-entropy.
            return keras.losses.CategoricalFocalCrossentropy(
                alpha=1.0, gamma=config.focal_gamma, from_logits=True, label_smoothing=config.label_smoothing
            )


def build_accuracy(config: LossConfig) -> keras.metrics.Metric:
    """Return the accuracy for the targets of the loss."""
    if config.name == "sparse":
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    return keras.metrics.CategoricalAccuracy(name="accuracy")


def targets_for(config: LossConfig, labels: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the targets of the loss: codes int64 (N,) for `sparse`, else one-hot float32 (N, 7)."""
    return labels if config.name == "sparse" else np.eye(len(LABELS), dtype=np.float32)[labels]


def image_weights(config: LossConfig, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the weight of each image in the loss, float32 (N,): 1, or with `balanced` equal sums for all labels."""
    weights = np.ones(len(labels), dtype=np.float32)
    if config.class_weights == "balanced":
        present = np.unique(labels)
        by_code = dict(zip(present, compute_class_weight("balanced", classes=present, y=labels), strict=True))
        weights *= np.array([by_code[label] for label in labels], dtype=np.float32)
    return weights
