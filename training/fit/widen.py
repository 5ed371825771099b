"""Initialise a wide network with the function of a narrow one: each new channel is a copy of an old channel.

The copies of a channel share its weights in the next layer in unequal parts, so that training makes them different.

Reference:
    Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from training.errors import TrainingError

# Layers without weights that process every channel separately.
_CHANNELWISE = (
    layers.InputLayer,
    layers.Rescaling,
    layers.ReLU,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.Dropout,
)


@dataclass(frozen=True)
class _Copies:
    """The source of each new channel.

    Attributes:
        old: int64 (C,), index of the copied channel.
        part: float32 (C,), the copy's part of the old channel's weights in the next layer; the parts of the copies of
            one channel sum to 1.
    """

    old: npt.NDArray[np.int64]
    part: npt.NDArray[np.float32]

    @classmethod
    def draw(cls, narrow: int, wide: int, generator: np.random.Generator) -> _Copies:
        """Draw the copies: all old channels in order, then random ones; copy counts differ by at most one."""
        rounds = [generator.permutation(narrow) for _ in range(-(-wide // narrow) - 1)]
        old = np.concatenate([np.arange(narrow), *rounds])[:wide]
        weight = generator.uniform(0.5, 1.5, wide)
        part = weight / np.bincount(old, weight, narrow)[old]
        return cls(old, part.astype(np.float32))

    @classmethod
    def none(cls, channels: int) -> _Copies:
        """Return the identity: no channel is copied."""
        return cls(np.arange(channels), np.ones(channels, np.float32))


def widen(narrow: keras.Model, wide: keras.Model, seed: int) -> None:
    """Set the weights of a fresh network so that it computes the same logits as a narrower one of the same layers.

    Args:
        narrow: A trained chain of convolutions, normalisations and dense heads: the network `vgg`.
        wide: The same layers with at least as many channels; its weights are replaced.
        seed: Seed of the choice of copies.

    Raises:
        TrainingError: The layers differ, `wide` has fewer channels, or a layer cannot be widened.
    """
    generator = np.random.default_rng(seed)
    copies = _Copies.none(1)
    weighted = {layer.name: layer for layer in narrow.layers if layer.weights}
    if list(weighted) != [layer.name for layer in wide.layers if layer.weights]:
        raise TrainingError(
            "warm_start: the networks have different layers."
            f" Expected: {', '.join(layer.name for layer in wide.layers if layer.weights)}."
            f" Received: {', '.join(weighted)}"
        )
    for layer in wide.layers:
        match layer:
            case layers.Conv2D() | layers.Dense():
                old = weighted[layer.name]
                inputs, copies = copies, _output_copies(old, layer, generator)
                kernel, *bias = old.get_weights()
                new = kernel[..., inputs.old, :] * inputs.part[:, None]
                layer.set_weights([new[..., copies.old], *(vector[copies.old] for vector in bias)])
                if isinstance(layer, layers.Dense):
                    copies = inputs  # several heads have the same features as input
            case layers.BatchNormalization():
                layer.set_weights([vector[copies.old] for vector in weighted[layer.name].get_weights()])
            case _ if not isinstance(layer, _CHANNELWISE):
                raise TrainingError(
                    f"warm_start: a network with the layer {layer.name} cannot start from a narrower one."
                    " Only `vgg` can; choose a run with the same widths."
                )


def _output_copies(old: keras.Layer, new: keras.Layer, generator: np.random.Generator) -> _Copies:
    before, after = (int(layer.kernel.shape[-1]) for layer in (old, new))
    if after < before:
        raise TrainingError(
            f"warm_start: expected at least the {before} channels of the parent run in {new.name}. Received: {after}"
        )
    return _Copies.none(before) if after == before else _Copies.draw(before, after, generator)
