"""Optimisers and schedules: rates by step, decay, and the size of a step."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from training.config import OptimizerConfig
from training.fit.optimizers import build_optimizer


def learning_rates(config: OptimizerConfig, steps: list[int]) -> list[float]:
    optimizer = build_optimizer(config, epochs=10, steps_per_epoch=10)
    rates = []
    for step in steps:
        optimizer.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return rates


def test_optimizer_cosine_warms_up_and_ends_at_0():
    rates = learning_rates(OptimizerConfig(learning_rate=0.1, warmup_epochs=2), [0, 10, 20, 60, 100])
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-3)


def test_optimizer_constant_rate_is_constant():
    assert learning_rates(OptimizerConfig(learning_rate=0.1, schedule="constant"), [0, 99]) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_optimizer_decays_kernels_but_no_biases(name):
    config = OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5, schedule="constant")
    optimizer = build_optimizer(config, 1, 1)
    names = ("kernel", "bias", "gamma", "beta")
    variables = [keras.Variable(np.ones(3), name=name) for name in names]
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(3)] * len(variables))
    kernel, *others = (keras.ops.convert_to_numpy(variable) for variable in variables)
    np.testing.assert_allclose(kernel, 1 - 0.1 * 0.5, atol=1e-6)
    for other in others:
        np.testing.assert_array_equal(other, 1)


def stepped(config: OptimizerConfig, steps: int = 2) -> float:
    """Return the distance that gradients of 1 move a variable."""
    optimizer = build_optimizer(config, 10, 10)
    variable = keras.Variable(np.zeros(1), name="kernel")
    optimizer.build([variable])
    for _ in range(steps):
        optimizer.apply([keras.ops.ones(1)])
    return float(-keras.ops.convert_to_numpy(variable)[0])


def test_optimizer_sgd_moves_by_nesterov_momentum():
    plain = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.0, schedule="constant")
    assert stepped(plain) == pytest.approx(0.2)
    # Nesterov: velocity v = 0.9 v - 0.1, step 0.9 v - 0.1; -0.19 and then -0.271.
    assert stepped(plain.model_copy(update={"momentum": 0.9})) == pytest.approx(0.19 + 0.271)


def test_optimizer_adamw_moves_by_the_rate_for_every_gradient():
    assert stepped(OptimizerConfig(learning_rate=0.1, schedule="constant")) == pytest.approx(0.2, rel=1e-4)
