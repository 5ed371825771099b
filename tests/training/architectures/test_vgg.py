"""The shape of the VGG, and its precision. `test_network` tests the folding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from app.contract.labels import LABELS
from training.architectures import Form, build
from training.config import ModelConfig


@pytest.fixture
def half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def parameters(widths: tuple[int, ...], convolutions_per_stage: int, per_channel: int) -> int:
    """Count the parameters: 3x3 kernels, `per_channel` more for each output channel, and the head."""
    total, channels = 0, 1
    for width in widths:
        for _ in range(convolutions_per_stage):
            total += 9 * channels * width + per_channel * width
            channels = width
    return total + channels * len(LABELS) + len(LABELS)


@pytest.mark.parametrize("convolutions_per_stage", [1, 2, 3])
@pytest.mark.parametrize("widths", [(4,), (4, 8), (3, 5, 7)])
def test_vgg_parameter_count_equals_the_formula(widths, convolutions_per_stage):
    config = ModelConfig(architecture="vgg", widths=widths, convolutions_per_stage=convolutions_per_stage)
    assert build(config).count_params() == parameters(widths, convolutions_per_stage, per_channel=4)
    assert build(config, Form.SERVED).count_params() == parameters(widths, convolutions_per_stage, per_channel=1)


@pytest.mark.parametrize(("stage", "head", "expected"), [(0.0, 0.0, 0), (0.1, 0.0, 2), (0.0, 0.2, 1), (0.1, 0.2, 3)])
def test_vgg_has_the_dropouts_of_its_options(stage, head, expected):
    model = build(ModelConfig(architecture="vgg", widths=(4, 8), stage_dropout=stage, head_dropout=head))
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(rates) == expected
    assert set(rates) <= {stage, head}


def test_vgg_channels_first_with_the_same_weights_gives_the_same_logits():
    config = ModelConfig(architecture="vgg", widths=(4, 8))
    trained, served = build(config), build(config, Form.SERVED)
    generator = np.random.default_rng(0)
    for layer in served.layers:
        if not layer.weights:
            continue
        kernel, bias = (generator.normal(0, 0.2, size=weight.shape).astype(np.float32) for weight in layer.weights)
        layer.set_weights([kernel, bias])
        if isinstance(layer, keras.layers.Conv2D):
            # A normalisation with variance 1 - epsilon only adds beta, which is the bias here.
            normalisation = trained.get_layer(f"{layer.name}_bn")
            ones = np.ones_like(bias)
            normalisation.set_weights([ones, bias, 0 * ones, ones - normalisation.epsilon])
            trained.get_layer(layer.name).set_weights([kernel])
        else:
            trained.get_layer(layer.name).set_weights([kernel, bias])
    levels = np.array([0, 50, 100, 150, 200]).reshape(5, 1, 1, 1)
    images = (levels + generator.integers(0, 56, size=(5, 48, 48, 1))).astype(np.uint8)
    one, other = (model.predict(images, verbose=0) for model in (trained, served))
    assert np.ptp(one, axis=0).max() > 0.1  # the logits depend on the image
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_vgg_logits_are_full_precision_in_half_precision_training(half_precision):
    model = build(ModelConfig(architecture="vgg", widths=(4, 8)))
    assert model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert model.predict(np.zeros((2, 48, 48, 1), np.uint8), verbose=0).dtype == np.float32
    assert {weight.dtype for weight in model.weights} == {"float32"}
