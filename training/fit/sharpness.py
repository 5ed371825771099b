"""Sharpness-aware minimisation: the gradient of an update is that of nearby weights with a higher loss.

Reference:
    Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021.
"""

from __future__ import annotations

from typing import Any

import keras

from training.config import SharpnessAwareConfig
from training.errors import TrainingError


class SharpnessAware:
    """Training step with two gradient passes, in place of `train_on_batch` of Keras.

    Args:
        model: A compiled network.
        config: `radius` is the length of the step to the weights of the second pass.

    Raises:
        TrainingError: Keras runs on another backend than torch, which computes the gradients.
    """

    def __init__(self, model: keras.Model, config: SharpnessAwareConfig) -> None:
        if keras.config.backend() != "torch":
            raise TrainingError(
                f"sharpness-aware training needs KERAS_BACKEND=torch. Received: {keras.config.backend()}"
            )
        self._model, self._config = model, config

    def train_on_batch(self, images: Any, labels: Any, weights: Any) -> dict[str, float]:
        """Update the weights once.

        Args:
            images: uint8 (N, H, W, 1).
            labels: Targets by head.
            weights: Weights of the images by head, float32 (N,).

        Returns:
            The logs of `train_on_batch`, for the weights before the update.
        """
        import torch

        model, variables = self._model, self._model.trainable_weights
        batch = keras.tree.map_structure(keras.ops.convert_to_tensor, (images, labels, weights))
        model.reset_metrics()
        loss, logits, gradients = self._gradients(*batch)
        results = {**model.compute_metrics(batch[0], batch[1], logits, batch[2]), "loss": loss}
        logs = {name: float(value) for name, value in results.items()}
        statistics = [variable.value.detach().clone() for variable in model.non_trainable_weights]
        own = [variable.value.detach().clone() for variable in variables]
        with torch.no_grad():
            norm = torch.linalg.vector_norm(torch.stack([gradient.norm() for gradient in gradients]))
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.value.add_(gradient * (self._config.radius / (norm + keras.config.epsilon())))
        _, _, gradients = self._gradients(*batch)
        with torch.no_grad():
            # The update starts at the own weights. The statistics of batch normalisation are those of the own weights.
            for variable, value in zip([*variables, *model.non_trainable_weights], [*own, *statistics], strict=True):
                variable.assign(value)
            model.optimizer.apply(gradients, variables)
        return logs

    def _gradients(self, images: Any, labels: Any, weights: Any) -> tuple[Any, Any, list[Any]]:
        """Return the loss, the logits by head, and the gradient of every trainable weight."""
        import torch

        model = self._model
        logits = model(images, training=True)
        loss = model.compute_loss(images, labels, logits, weights, training=True)
        gradients = torch.autograd.grad(loss, [variable.value for variable in model.trainable_weights])
        return loss.detach(), keras.tree.map_structure(lambda head: head.detach(), logits), list(gradients)
