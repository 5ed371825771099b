"""Adversarial training: some images of every batch get small changes that raise the loss.

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
    """Attack on the present weights of a network. Nothing is random.

    Args:
        model: A TRAINED network. The output of its layer `rescale` is the first that has gradients.
        output: The logits of the network.
        loss: The loss to raise.
        config: Share of the attacked images, and the largest change of a pixel.

    Raises:
        TrainingError: Keras runs on another backend than torch, which computes the gradients.
    """

    def __init__(self, model: keras.Model, output: Any, loss: keras.losses.Loss, config: AdversarialConfig) -> None:
        if keras.config.backend() != "torch":
            raise TrainingError(f"adversarial training needs KERAS_BACKEND=torch. Received: {keras.config.backend()}")
        self._rescale = model.get_layer("rescale")
        self._rest = keras.Model(self._rescale.output, output)
        self._loss, self._config = loss, config

    def attack(self, images: npt.NDArray[np.uint8], targets: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Attack the first images of a batch.

        Args:
            images: uint8 (N, H, W, 1).
            targets: Targets of the loss, (N, 7) or (N,).

        Returns:
            uint8 (N, H, W, 1), new memory. At least one image is attacked; a pixel changes by at most `epsilon` * 255.
        """
        import torch

        count = max(1, round(self._config.share * len(images)))
        pixels = self._rescale(images[:count]).detach().requires_grad_()
        loss = self._loss(targets[:count], self._rest(pixels, training=False))
        (gradient,) = torch.autograd.grad(loss, pixels)
        # The factor of the rescaling is positive, so the gradient with respect to grey levels has the same sign.
        step = np.sign(keras.ops.convert_to_numpy(gradient)) * round(self._config.epsilon * 255)
        attacked = np.clip(images[:count] + step, 0, 255).astype(np.uint8)
        return np.concatenate([attacked, images[count:]])
