"""Layers and networks: batch normalisation equals that of Keras; the VGG has its documented shape."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.datasets import tiny_config
from training.architectures import Form, build, fold
from training.architectures.layers import FastBatchNormalization
from training.config import ModelConfig
from training.errors import TrainingError

INPUTS = np.random.default_rng(0).normal(2, 3, size=(6, 5, 5, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.skipif(keras.config.backend() != "torch", reason="the fast path is of the torch backend")
def test_fast_batch_normalization_is_keras_batch_normalization(axis):
    import torch

    layers = [cls(axis=axis, momentum=0.8) for cls in (keras.layers.BatchNormalization, FastBatchNormalization)]
    outputs, gradients = [], []
    for layer in layers:
        inputs = torch.tensor(INPUTS, requires_grad=True)
        for _ in range(3):
            output = layer(inputs, training=True)
        (output**3).sum().backward()
        outputs.append(output.detach().numpy())
        gradients.append([inputs.grad.numpy(), *(weight.value.grad.numpy() for weight in layer.trainable_weights)])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)
    for slow, fast in zip(*gradients, strict=True):
        np.testing.assert_allclose(slow, fast, rtol=1e-3, atol=1e-3)
    for slow, fast in zip(layers[0].get_weights(), layers[1].get_weights(), strict=True):
        np.testing.assert_allclose(slow, fast, rtol=1e-5, atol=1e-6)
    quiet = [keras.ops.convert_to_numpy(layer(INPUTS, training=False)) for layer in layers]
    np.testing.assert_allclose(*quiet, atol=1e-5)


def test_fast_batch_normalization_survives_saving():
    layer = FastBatchNormalization(momentum=0.7)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).momentum == 0.7


def test_vgg_has_the_weights_of_its_shape():
    model = build(ModelConfig(architecture="vgg", widths=(4, 8), convolutions_per_stage=2))
    convolutions = 9 * (1 * 4 + 4 * 4 + 4 * 8 + 8 * 8)
    normalisations = 4 * (4 + 4 + 8 + 8)
    assert model.count_params() == convolutions + normalisations + 8 * 7 + 7


def test_vgg_maps_raw_pixels_to_logits():
    model = build(tiny_config().model)
    logits = model.predict(np.zeros((3, 48, 48, 1), np.uint8), verbose=0)
    assert (logits.shape, logits.dtype) == ((3, 7), np.float32)
    assert model.inputs[0].dtype == "uint8"
    assert model.predict(np.zeros((3, 32, 32, 1), np.uint8), verbose=0).shape == (3, 7)


def test_fold_gives_the_same_logits_without_normalisation():
    config = tiny_config()
    trained = build(config.model)
    generator = np.random.default_rng(0)
    for layer in trained.layers:  # statistics other than the initial ones, so that folding changes the weights
        if isinstance(layer, FastBatchNormalization):
            layer.set_weights([generator.uniform(0.5, 2, size=weight.shape) for weight in layer.get_weights()])
    served = fold(trained, config.model)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in served.layers)
    images = generator.integers(0, 256, size=(5, 48, 48, 1), dtype=np.uint8)
    np.testing.assert_allclose(
        served.predict(images, verbose=0), trained.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )


def test_build_served_form_is_channels_first():
    served = build(tiny_config().model, Form.SERVED)
    assert served.get_layer("block1_conv1").output.shape == (None, 4, 48, 48)


def test_build_unknown_architecture_lists_the_known_ones():
    with pytest.raises(TrainingError, match=r"expected one of cbam, .*, vgg, vit_small. Received: 'lenet'"):
        build(ModelConfig(architecture="lenet", widths=(4,)))
