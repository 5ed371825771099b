"""Adversarial training: some images of every batch are changed so that the network errs more, by little per pixel.

Reference:
    Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", 2014 (fast gradient sign).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.config import AdversarialConfig
from training.errors import TrainingError


class FastGradientSign:
    """Changes images against a network as it is at the moment. Draws nothing at random.

    Args:
        model: A TRAINED network; its layer `rescale` is where pixels become numbers that have gradients.
        output: Its logits.
        loss: That the change should raise.
        config: How many images of a batch, and how far.

    Raises:
        TrainingError: Keras runs on another backend than torch, whose gradients these are.
    """

    def __init__(self, model: keras.Model, output: Any, loss: keras.losses.Loss, config: AdversarialConfig) -> None:
        if keras.config.backend() != "torch":
            raise TrainingError("adversarial training needs KERAS_BACKEND=torch")
        self._rescale = model.get_layer("rescale")
        self._rest = keras.Model(self._rescale.output, output)
        self._loss, self._config = loss, config

    def attack(self, images: npt.NDArray[np.uint8], targets: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Attacks the first images of a batch.

        Args:
            images: uint8 (N, H, W, 1).
            targets: As the loss takes them.

        Returns:
            New images; at least one of them differs, each pixel by at most `epsilon` of 255.
        """
        import torch

        count = max(1, round(self._config.share * len(images)))
        pixels = self._rescale(images[:count]).detach().requires_grad_()
        loss = self._loss(targets[:count], self._rest(pixels, training=False))
        (gradient,) = torch.autograd.grad(loss, pixels)
        # The rescaling's factor is above 0: the sign is that of the gradient by grey levels.
        step = np.sign(keras.ops.convert_to_numpy(gradient)) * round(self._config.epsilon * 255)
        attacked = np.clip(images[:count] + step, 0, 255).astype(np.uint8)
        return np.concatenate([attacked, images[count:]])
