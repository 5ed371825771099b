"""Every network: it takes raw pixels, computes the same logits in ONNX, and accepts its documented options."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest

from training import architectures
from training.architectures import ARCHITECTURES, PLAIN_WHEN_SERVED, Form, build, fold
from training.architectures.blocks import NORMALISATION_MOMENTUM
from training.architectures.layers import FastBatchNormalization
from training.config import ModelConfig
from training.errors import TrainingError
from training.export.checks import PARITY, PARITY_BATCHES, check_plain
from training.export.graph import open_graph, to_onnx
from training.fit.precision import detect_bfloat16

# Narrow versions of the published networks, which are built and exported in seconds.
NARROW: dict[str, dict] = {
    "cbam": {"widths": (8, 16), "dense_units": 8},
    "cnn_basic": {"widths": (4, 4, 8), "dense_units": 8},
    "cnn_batchnorm": {"widths": (4, 4, 8), "dense_units": 8},
    "cnn_four_layer": {"widths": (4, 4, 8, 8), "dense_units": 8},
    "cnn_three_block": {"widths": (4, 4, 8), "dense_units": 8},
    "convnext_small": {"widths": (4, 8), "convolutions_per_stage": 1},
    "googlenet": {"widths": (4, 8, 16)},
    "mobilenet_v2": {"input_size_px": 32, "dense_units": 8},
    "newnet": {"widths": (4, 8, 8)},
    "repvgg": {"widths": (4, 8)},
    "resnet50": {"input_size_px": 32, "dense_units": 8},
    "resnet_simple": {"widths": (4, 8)},
    "resnet_small": {"widths": (4, 8)},
    "roglenet": {"widths": (6, 9)},
    "unet": {"widths": (4, 8, 8)},
    "vgg": {"widths": (4, 8)},
    "vit_small": {"widths": (32, 32)},
}


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


def narrow(key: str, **options) -> ModelConfig:
    return ModelConfig(architecture=key, **(NARROW[key] | options))


def with_random_statistics(config: ModelConfig, seed: int = 0) -> keras.Model:
    """A network whose normalisations change the features and whose logits differ between images."""
    keras.utils.set_random_seed(seed)
    model = build(config)
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(generator.uniform(0.7, 1.3, weight.shape))
        elif weight.name in {"beta", "bias", "positions"}:
            weight.assign(generator.normal(0, 0.1, weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # use the statistics of one batch
    model(faces(16), training=True)
    return model


def faces(count: int) -> np.ndarray:
    """Noise on a gradient, each image with another brightness."""
    generator = np.random.default_rng(count)
    noise = generator.integers(0, 60, size=(count, 48, 48, 1))
    ramp = np.arange(48).reshape(1, 48, 1, 1) * 2
    return (noise + ramp + generator.integers(0, 100, size=(count, 1, 1, 1))).astype(np.uint8)


def test_every_architecture_is_tested_here():
    assert set(NARROW) == set(ARCHITECTURES)


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_architecture_in_onnx_is_the_trained_network(key, tmp_path):
    config = narrow(key)
    trained = with_random_statistics(config)
    graph = to_onnx(fold(trained, config), tmp_path)
    session = open_graph(graph)
    images = faces(max(PARITY_BATCHES))
    expected = trained.predict(images, verbose=0)
    assert expected.shape == (64, 7)
    assert np.ptp(expected, axis=0).max() > 100 * PARITY  # the logits depend on the image
    # With random weights, the fifty layers of the ImageNet networks amplify rounding errors of float32. Export has no
    # such exception.
    tolerance = 20 * PARITY if key in {"resnet50", "mobilenet_v2"} else PARITY
    for batch in PARITY_BATCHES:
        (received,) = session.run(["logits"], {"image": images[:batch]})
        np.testing.assert_allclose(received, expected[:batch], atol=tolerance)
    operations = Counter(node.op_type for node in graph.graph.node)
    assert operations["BatchNormalization"] == 0, "every normalisation behind a convolution folds into it"


@pytest.mark.parametrize("key", sorted(PLAIN_WHEN_SERVED))
def test_plain_architecture_has_no_branches_when_served(key, tmp_path):
    config = narrow(key)
    check_plain(to_onnx(fold(with_random_statistics(config), config), tmp_path))


@pytest.mark.parametrize("normalisation", ["centre", "unit", "dataset", "image"])
def test_normalisation_in_onnx_is_that_of_training(normalisation, tmp_path):
    config = narrow("cnn_basic", normalisation=normalisation)
    trained = with_random_statistics(config)
    session = open_graph(to_onnx(fold(trained, config), tmp_path))
    images = faces(3)
    (received,) = session.run(["logits"], {"image": images})
    np.testing.assert_allclose(received, trained.predict(images, verbose=0), atol=PARITY)


def normalised(images: np.ndarray, normalisation: str) -> np.ndarray:
    """Return the input of the first convolution."""
    model = build(narrow("vgg", normalisation=normalisation))
    seen = keras.Model(model.input, model.get_layer("block1_conv1").input)
    return seen.predict(images, verbose=0)


def test_normalisations_have_their_documented_ranges():
    levels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1) * np.ones((1, 48, 48, 1), np.uint8)
    for normalisation, expected in (
        ("centre", (-2, 255 / 64 - 2)),
        ("unit", (0, 1)),
        ("dataset", (-0.5077 / 0.2551, (1 - 0.5077) / 0.2551)),
    ):
        np.testing.assert_allclose(normalised(levels, normalisation)[:, 0, 0, 0], expected, atol=1e-5)
    own = normalised(faces(4), "image")
    np.testing.assert_allclose(own.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(own.std(axis=(1, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(normalised(levels, "image"), 0, atol=1e-4)


def test_cnn_three_block_has_exactly_the_published_parameters():
    assert build(ModelConfig(architecture="cnn_three_block")).count_params() == 1_468_135


def test_repvgg_trains_with_three_branches_and_serves_a_vgg():
    config = narrow("repvgg")
    names = [layer.name for layer in build(config).layers]
    assert {"block1_conv2", "block1_conv2_1x1", "block1_conv2_identity_bn"} <= set(names)
    assert "block1_conv1_identity_bn" not in names  # one input channel, four output channels
    served = build(config, Form.SERVED)
    plain = build(narrow("vgg"), Form.SERVED)
    assert [type(layer) for layer in served.layers] == [type(layer) for layer in plain.layers]
    assert served.count_params() == plain.count_params()


@pytest.mark.parametrize("key", ["repvgg", "vgg"])
def test_fold_uses_the_requested_head(key):
    config = narrow(key)
    trained = with_random_statistics(config)
    other = keras.layers.Dense(7, name="annotator_logits")
    two_heads = keras.Model(trained.input, other(trained.get_layer("logits").input))
    images = faces(3)
    np.testing.assert_allclose(
        fold(two_heads, config, "annotator_logits").predict(images, verbose=0),
        two_heads.predict(images, verbose=0),
        atol=PARITY,
    )


def test_build_option_of_another_network_is_refused():
    with pytest.raises(TrainingError, match="resnet50 has no normalisation, widths; its options are"):
        build(ModelConfig(architecture="resnet50", widths=(4,), normalisation="unit"))


def test_build_restores_the_layout_of_keras():
    before = keras.config.image_data_format()
    build(narrow("vgg"), Form.SERVED)
    with pytest.raises(TrainingError):
        build(ModelConfig(architecture="cbam", freeze_base=True), Form.SERVED)
    assert keras.config.image_data_format() == before


def test_imagenet_network_frozen_base_does_not_learn():
    trainable = {weight.path for weight in build(narrow("mobilenet_v2", freeze_base=True)).trainable_weights}
    assert trainable == {"dense/kernel", "dense_bn/gamma", "dense_bn/beta", "logits/kernel", "logits/bias"}
    assert len(build(narrow("mobilenet_v2")).trainable_weights) > 100


@pytest.mark.parametrize("key", ["mobilenet_v2", "resnet50", "vit_small"])
def test_deep_network_starts_with_logits_near_zero(key):
    model = build(narrow(key))
    weights = model.get_layer("logits").get_weights()[0]
    assert 0 < np.abs(weights).max() < 0.05


def test_transformer_starts_with_effective_attention_and_positions():
    model = build(narrow("vit_small", widths=(64, 64)))
    images = faces(2)
    tokens = keras.Model(model.input, model.get_layer("tokens").output).predict(images, verbose=0)
    placed = keras.Model(model.input, model.get_layer("positions").output).predict(images, verbose=0)
    assert np.std(placed - tokens) > 0.2 * np.std(tokens)
    normalised = model.get_layer("layer1_attention_norm")(placed)
    _, heard = model.get_layer("layer1_attention")(normalised, normalised, return_attention_scores=True)
    # The largest attention score relative to uniform scores; with the default initialisation of Keras it is 1.2.
    assert keras.ops.convert_to_numpy(heard).max() * heard.shape[-1] > 3


@pytest.mark.parametrize("key", ["mobilenet_v2", "resnet50"])
def test_imagenet_network_gathers_its_statistics_within_a_short_run(key):
    normalisations = [layer for layer in build(narrow(key)).layers if isinstance(layer, FastBatchNormalization)]
    assert len(normalisations) > 50
    assert {layer.momentum for layer in normalisations} == {NORMALISATION_MOMENTUM}


def test_imagenet_network_converts_grey_levels_to_its_input_range():
    levels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1) * np.ones((1, 48, 48, 1), np.uint8)
    for key, offsets, factor in (("mobilenet_v2", (-1, -1, -1), 2), ("resnet50", (-103.939, -116.779, -123.68), 255)):
        model = build(narrow(key))
        seen = keras.Model(model.input, model.get_layer("offset_channels").output).predict(levels, verbose=0)
        assert seen.shape == (2, 32, 32, 3)
        np.testing.assert_allclose(seen[:, 5, 5], np.add.outer([0, factor], offsets), rtol=1e-5)


def test_imagenet_weights_from_a_file_are_in_the_base(tmp_path):
    published = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "published.weights.h5"
    published.save_weights(path)
    config = narrow("mobilenet_v2", pretrained=str(path))
    model = build(config)
    architectures.load_pretrained(model, config)
    for name in ("Conv1", "bn_Conv1", "Conv_1"):
        for weight, expected in zip(
            model.get_layer(name).get_weights(), published.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, expected)


def test_imagenet_weights_that_cannot_be_read_are_refused(tmp_path):
    config = narrow("mobilenet_v2", pretrained=str(tmp_path / "none.h5"))
    with pytest.raises(TrainingError, match="cannot be loaded"):
        architectures.load_pretrained(build(config), config)


@pytest.mark.skipif(not detect_bfloat16().available, reason="PyTorch has no bfloat16 convolution on this hardware")
@pytest.mark.parametrize("key", [key for key in ARCHITECTURES if key not in {"resnet50", "mobilenet_v2"}])
def test_architecture_trains_in_bfloat16_with_float32_logits(key):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(narrow(key))
        model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        loss = model.train_on_batch(faces(4), np.arange(4))
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(loss)
    assert keras.backend.standardize_dtype(model.output.dtype) == "float32"
