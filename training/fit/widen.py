"""A wider network that begins by giving the answers of a narrower one: each new channel is a copy of an old one.

What two copies of a channel do to the next layer together is what the one did before, in unequal parts, so that they
do not stay the same when they are trained.

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

# What is left alone: layers without weights that treat every channel by itself.
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
    """For each new channel (C,): which old one it copies, and its part of what that one does; parts sum to 1."""

    old: npt.NDArray[np.int64]
    part: npt.NDArray[np.float32]

    @classmethod
    def draw(cls, narrow: int, wide: int, generator: np.random.Generator) -> _Copies:
        """All old channels in their order, then again some of them, none twice as often as another."""
        rounds = [generator.permutation(narrow) for _ in range(-(-wide // narrow) - 1)]
        old = np.concatenate([np.arange(narrow), *rounds])[:wide]
        weight = generator.uniform(0.5, 1.5, wide)
        part = weight / np.bincount(old, weight, narrow)[old]
        return cls(old, part.astype(np.float32))

    @classmethod
    def none(cls, channels: int) -> _Copies:
        """Every channel is itself."""
        return cls(np.arange(channels), np.ones(channels, np.float32))


def widen(narrow: keras.Model, wide: keras.Model, seed: int) -> None:
    """Gives a fresh network weights with which it answers as a narrower one of the same layers does.

    Args:
        narrow: A trained chain of convolutions, normalisations and dense heads: the network `vgg`.
        wide: The same layers with as many or more channels; its weights are replaced.
        seed: Chooses the copies.

    Raises:
        TrainingError: The two are not such networks.
    """
    generator = np.random.default_rng(seed)
    copies = _Copies.none(1)
    weighted = {layer.name: layer for layer in narrow.layers if layer.weights}
    if list(weighted) != [layer.name for layer in wide.layers if layer.weights]:
        raise TrainingError("start: the other network has other layers than this one")
    for layer in wide.layers:
        old = weighted.get(layer.name)
        match layer:
            case layers.Conv2D() | layers.Dense():
                entering, copies = copies, _leaving(old, layer, generator)
                kernel, *bias = old.get_weights()
                new = kernel[..., entering.old, :] * entering.part[:, None]
                layer.set_weights([new[..., copies.old], *(vector[copies.old] for vector in bias)])
                if isinstance(layer, layers.Dense):
                    copies = entering  # several heads read the same features
            case layers.BatchNormalization():
                layer.set_weights([vector[copies.old] for vector in old.get_weights()])
            case _ if not isinstance(layer, _CHANNELWISE):
                raise TrainingError(f"start: a network with the layer {layer.name} cannot begin from a narrower one")


def _leaving(old: keras.Layer, new: keras.Layer, generator: np.random.Generator) -> _Copies:
    before, after = (int(layer.kernel.shape[-1]) for layer in (old, new))
    if after < before:
        raise TrainingError(f"start: {new.name} has {after} channels and the run to start from {before}")
    return _Copies.none(before) if after == before else _Copies.draw(before, after, generator)
