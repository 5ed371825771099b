"""The moving average of the weights: what it contains, and that the own weights of the model come back."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.datasets import tiny_config
from training.fit.compiling import compile_model
from training.fit.weight_average import WeightAverage


def test_average_applies_to_all_weights_and_restores_the_own_ones():
    model = compile_model(tiny_config(), 4)
    start = [np.array(weight) for weight in model.get_weights()]
    average = WeightAverage(model, momentum=0.5)
    model.set_weights([weight + 1 for weight in start])
    average.update(step=1000)
    with average.applied():
        for weight, before in zip(model.get_weights(), start, strict=True):
            np.testing.assert_allclose(weight, before + 0.5, atol=1e-6)
    for weight, before in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(weight, before + 1)


def test_average_restores_the_own_weights_after_an_error():
    model = compile_model(tiny_config(), 4)
    average = WeightAverage(model, momentum=0.5)
    own = [weight + 1 for weight in model.get_weights()]
    model.set_weights(own)
    with pytest.raises(KeyboardInterrupt), average.applied():
        raise KeyboardInterrupt
    for weight, expected in zip(model.get_weights(), own, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="graphs of gradients are kept by torch")
def test_average_keeps_no_graph_of_gradients():
    model = compile_model(tiny_config(), 4)
    average = WeightAverage(model, momentum=0.9)
    average.update(0)
    assert not any(value.requires_grad for value in average._values)


def test_average_loses_the_random_start_quickly():
    model = compile_model(tiny_config(), 4)
    average = WeightAverage(model, momentum=0.999)
    model.set_weights([weight * 0 + 5 for weight in model.get_weights()])
    for step in range(50):
        average.update(step)
    assert all(np.abs(array - 5).max() < 0.01 for array in average.arrays())
