"""The loss of the original labels and its targets, as the config selects them. The losses are those of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight

from app.contract.labels import LABELS
from training.config import LossConfig

_MIN_SHARE = 1e-5  # of a label, so that its logarithm is finite


class _LogitAdjusted(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """Another loss of logits plus constants.

    Reference:
        Menon et al., "Long-tail learning via logit adjustment", 2021.
    """

    def __init__(self, loss: keras.losses.Loss, constants: npt.NDArray[np.float32]) -> None:
        super().__init__(name=loss.name)
        self._loss, self._constants = loss, constants

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of every image."""
        return self._loss.call(y_true, y_pred + keras.ops.convert_to_tensor(self._constants))


def build_loss(config: LossConfig, label_shares: npt.NDArray[np.float64] | None = None) -> keras.losses.Loss:
    """Return the loss on logits; `targets_for` returns its targets.

    Args:
        config: The loss.
        label_shares: float64 (7,), share of each label in Training, for `logit_adjustment`. None: no adjustment, for
            the loss of the network as it is served.
    """
    loss = _plain_loss(config)
    if not config.logit_adjustment or label_shares is None:
        return loss
    constants = config.logit_adjustment * np.log(np.maximum(label_shares, _MIN_SHARE))
    return _LogitAdjusted(loss, constants.astype(np.float32))


def label_shares(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the share of each label among codes int64 (N,), as float64 (7,)."""
    return np.bincount(labels, minlength=len(LABELS)) / len(labels)


def _plain_loss(config: LossConfig) -> keras.losses.Loss:
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
