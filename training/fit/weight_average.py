"""Averages of a model's weights, including the statistics of batch normalisation: over steps and over epochs.

The optimisers of Keras average trainable weights only. A network with batch normalisation then has averaged weights
with the statistics of other weights, and early in a run it is worse than chance (measured: 1 % instead of 50 %).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np


class StoredWeights:
    """A second set of weights of one model, which a context can apply to the model.

    Args:
        model: The built model.
        values: The first values, in the order of `model.weights`.
    """

    def __init__(self, model: keras.Model, values: list[Any]) -> None:
        self._model = model
        self._values = values

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context in which the model has the stored weights; it gets exactly its own weights back at the end."""
        own = [np.array(keras.ops.convert_to_numpy(weight)) for weight in self._model.weights]
        self._assign(self._values)
        try:
            yield
        finally:
            self._assign(own)

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """Return the stored weights in the order of `model.weights`."""
        return [np.asarray(keras.ops.convert_to_numpy(value)) for value in self._values]

    def restore(self, arrays: list[np.ndarray[Any, Any]]) -> None:
        """Set the stored weights to the result of an earlier `arrays`."""
        self._values = [keras.ops.convert_to_tensor(array) for array in arrays]

    def _assign(self, values: list[Any]) -> None:
        for weight, value in zip(self._model.weights, values, strict=True):
            weight.assign(value)


class WeightAverage(StoredWeights):
    """Exponential moving average of every weight of one model.

    Args:
        model: The built model; its weights are the first average.
        momentum: Share of the old average that each step keeps. It is lower in the first steps, so that the random
            start has no lasting effect: min(momentum, (1 + step) / (10 + step)).

    Reference:
        Tarvainen and Valpola, "Mean teachers are better role models", 2017; the warm-up is TensorFlow's
        `ExponentialMovingAverage(num_updates)`.
    """

    def __init__(self, model: keras.Model, momentum: float) -> None:
        super().__init__(model, [keras.ops.copy(_value_of(weight)) for weight in model.weights])
        self._momentum = momentum

    def update(self, step: int) -> None:
        """Update the average with the model's weights after training step `step` (0-based)."""
        new_share = 1 - min(self._momentum, (1 + step) / (10 + step))
        self._values = [
            average + (_value_of(weight) - average) * new_share
            for average, weight in zip(self._values, self._model.weights, strict=True)
        ]


class EpochMean(StoredWeights):
    """Mean of the weights of one model after several epochs.

    Args:
        model: The built model.

    Reference:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model, [keras.ops.zeros_like(_value_of(weight)) for weight in model.weights])

    def add(self, earlier_epochs: int) -> None:
        """Add the model's present weights to the mean of `earlier_epochs` epochs."""
        self._values = [
            mean + (_value_of(weight) - mean) / (earlier_epochs + 1)
            for mean, weight in zip(self._values, self._model.weights, strict=True)
        ]


def _value_of(weight: keras.Variable) -> Any:
    # Without stop_gradient, the average is part of the graph of gradients, which then grows with every step.
    return keras.ops.stop_gradient(keras.ops.convert_to_tensor(weight))
