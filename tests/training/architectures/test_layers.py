"""Batch normalisation outside the fused path, and in half precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from training.architectures.layers import FastBatchNormalization

INPUTS = np.random.default_rng(0).normal(2, 3, size=(6, 5, 5, 4)).astype(np.float32)
BOTH = (keras.layers.BatchNormalization, FastBatchNormalization)


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


def outputs_and_weights(layer: keras.Layer, inputs: np.ndarray, **call) -> tuple[np.ndarray, list[np.ndarray]]:
    output = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(layer(inputs, **call), "float32")))
    return output, [np.asarray(weight) for weight in layer.get_weights()]


def assert_same(one: tuple[np.ndarray, list[np.ndarray]], other: tuple[np.ndarray, list[np.ndarray]], atol=1e-5):
    np.testing.assert_allclose(one[0], other[0], atol=atol)
    for left, right in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(left, right, atol=atol)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_fast_batch_normalization_without_scale_or_centre_equals_keras(options):
    slow, fast = (outputs_and_weights(layer(**options), INPUTS, training=True) for layer in BOTH)
    assert_same(slow, fast)


@pytest.mark.parametrize("shape", [(32, 4), (8, 6, 4), (2, 3, 3, 3, 4)])
def test_fast_batch_normalization_other_ranks_equal_keras(shape):
    inputs = np.random.default_rng(1).normal(5, 2, size=shape).astype(np.float32)
    slow, fast = (outputs_and_weights(layer(momentum=0.5), inputs, training=True) for layer in BOTH)
    assert_same(slow, fast)


def test_fast_batch_normalization_small_batch_keeps_the_biased_variance():
    pair = np.array([[1.0], [3.0]], dtype=np.float32)  # biased variance 1, unbiased 2
    layer = FastBatchNormalization(momentum=0.0)
    layer(pair, training=True)
    _, _, mean, variance = layer.get_weights()
    np.testing.assert_allclose([mean[0], variance[0]], [2, 1], atol=1e-6)


def test_fast_batch_normalization_frozen_keeps_its_statistics():
    layer = FastBatchNormalization()
    layer.build(INPUTS.shape)
    layer.trainable = False
    before = layer.get_weights()
    output, after = outputs_and_weights(layer, INPUTS, training=True)
    for left, right in zip(before, after, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(output, INPUTS / np.sqrt(1 + layer.epsilon), atol=1e-5)


def test_fast_batch_normalization_with_a_mask_equals_keras():
    inputs, mask = INPUTS[:, 0], np.arange(30).reshape(6, 5) % 3 > 0
    slow, fast = (outputs_and_weights(layer(), inputs, training=True, mask=mask) for layer in BOTH)
    unmasked = outputs_and_weights(FastBatchNormalization(), inputs, training=True)
    assert_same(slow, fast)
    assert np.abs(unmasked[1][2] - fast[1][2]).max() > 1e-4


def test_fast_batch_normalization_half_precision_keeps_dtype_and_statistics():
    layers = [layer(dtype="mixed_bfloat16", momentum=0.5) for layer in BOTH]
    inputs = keras.ops.cast(INPUTS, "bfloat16")
    for layer in layers:
        assert keras.backend.standardize_dtype(layer(inputs, training=True).dtype) == "bfloat16"
        assert {weight.dtype for weight in layer.weights} == {"float32"}
    # bfloat16 has 8 bits: outputs of magnitude 3 may differ in the last bit; the statistics are float32.
    (slow, slow_weights), (fast, fast_weights) = (outputs_and_weights(layer, inputs, training=True) for layer in layers)
    np.testing.assert_allclose(slow, fast, atol=0.04)
    for left, right in zip(slow_weights, fast_weights, strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-3)
