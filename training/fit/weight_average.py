"""The exponential moving average of a model's weights, normalisation statistics included.

Keras' optimisers average trainable weights only. A network with batch normalisation then gets averaged weights with
statistics of other weights, and early in a run is worse than chance with them (measured: 1 % against 50 %).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np


class WeightAverage:
    """A moving average of every weight of one model.

    Args:
        model: The model, built; its weights are the average's start.
        momentum: Share of the old average kept in each step; lower in the first steps, so that the random start
            is forgotten: min(momentum, (1 + step) / (10 + step)).

    Reference:
        Tarvainen and Valpola, "Mean teachers are better role models", 2017; the warm-up is TensorFlow's
        `ExponentialMovingAverage(num_updates)`.
    """

    def __init__(self, model: keras.Model, momentum: float) -> None:
        self._model = model
        self._momentum = momentum
        self._values: list[Any] = [keras.ops.copy(_value_of(weight)) for weight in model.weights]

    def update(self, step: int) -> None:
        """Blends in the model's present weights after training step `step` (0-based)."""
        new_share = 1 - min(self._momentum, (1 + step) / (10 + step))
        self._values = [
            average + (_value_of(weight) - average) * new_share
            for average, weight in zip(self._values, self._model.weights, strict=True)
        ]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the averaged weights; outside again exactly its own."""
        own = [np.array(keras.ops.convert_to_numpy(weight)) for weight in self._model.weights]
        self._assign(self._values)
        try:
            yield
        finally:
            self._assign(own)

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The averages as numpy arrays, in the order of `model.weights`."""
        return [np.asarray(keras.ops.convert_to_numpy(value)) for value in self._values]

    def restore(self, arrays: list[np.ndarray[Any, Any]]) -> None:
        """Puts back what `arrays` gave."""
        self._values = [keras.ops.convert_to_tensor(array) for array in arrays]

    def _assign(self, values: list[Any]) -> None:
        for weight, value in zip(self._model.weights, values, strict=True):
            weight.assign(value)


def _value_of(weight: keras.Variable) -> Any:
    # Without this, the average would be part of the gradient's graph, which grows by every step that it remembers.
    return keras.ops.stop_gradient(keras.ops.convert_to_tensor(weight))
