"""Backend settings of a run, and faster layers: the results are those of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from training.architectures.layers import FastDropout
from training.fit.backend import keep_channels_last, prepare_backend, restore_keras

LAYERS = {
    "convolution": lambda: keras.layers.Conv2D(4, 3, padding="same"),
    "strided convolution": lambda: keras.layers.Conv2D(4, 3, strides=2),
    "depthwise": lambda: keras.layers.DepthwiseConv2D(3, padding="same"),
    "transposed": lambda: keras.layers.Conv2DTranspose(4, 2, strides=2),
    "max pooling": lambda: keras.layers.MaxPooling2D(2),
    "max pooling, padded": lambda: keras.layers.MaxPooling2D(3, strides=1, padding="same"),
    "average pooling": lambda: keras.layers.AveragePooling2D(2),
    "average pooling, padded": lambda: keras.layers.AveragePooling2D(3, strides=1, padding="same"),
}
of_torch = pytest.mark.skipif(keras.config.backend() != "torch", reason="set up for the torch backend only")
IMAGES = np.random.default_rng(0).normal(size=(3, 9, 9, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def keras_own():
    """Keras and PyTorch without the changes of this or an earlier test."""
    torch = pytest.importorskip("torch")
    keras.config.set_dtype_policy("float32")
    restore_keras()
    before = torch.backends.cuda.flash_sdp_enabled()
    yield
    restore_keras()
    torch.backends.cuda.enable_flash_sdp(before)


@of_torch
@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_the_results_of_keras_and_keep_channels_last(name):
    keras.utils.set_random_seed(0)
    layer = LAYERS[name]()
    before = layer(IMAGES)
    keep_channels_last()
    after = layer(IMAGES)
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(answer) for answer in (after, before)), atol=1e-5)
    assert after.is_contiguous()


@of_torch
def test_convolutions_do_not_copy_their_input():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Copies(TorchDispatchMode):
        made = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.made += "clone" in str(function) and args[0].numel() == IMAGES.size
            return function(*args, **(kwargs or {}))

    layer = LAYERS["convolution"]()
    layer(IMAGES)
    keep_channels_last()
    images = keras.ops.convert_to_tensor(IMAGES)
    with Copies() as copies:
        layer(images)
    assert copies.made == 0


@of_torch
def test_a_run_keeps_channels_last():
    prepare_backend("float32", seed=0)
    assert LAYERS["max pooling"]()(IMAGES).is_contiguous()


@of_torch
@pytest.mark.parametrize("gpu", [False, True])
def test_a_run_without_a_gpu_uses_no_fused_attention(gpu, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    torch.backends.cuda.enable_flash_sdp(True)
    prepare_backend("float32", seed=0)
    assert torch.backends.cuda.flash_sdp_enabled() is gpu


@of_torch
@pytest.mark.parametrize("gpu", [False, True])
def test_a_run_without_a_gpu_computes_depthwise_convolutions_in_float32(gpu, monkeypatch):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Convolutions(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.dtypes = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "convolution" in str(function):
                self.dtypes.append(args[0].dtype)
            return function(*args, **(kwargs or {}))

    keras.utils.set_random_seed(0)
    layer = keras.layers.DepthwiseConv2D(3, strides=2, dtype="mixed_bfloat16")
    images = keras.ops.convert_to_tensor(IMAGES)
    before = layer(images)
    prepare_backend("float32", seed=0)  # for an earlier run of the process, on a machine without a GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    prepare_backend("float32", seed=0)
    computed = depthwise_conv()
    prepare_backend("float32", seed=0)  # for the next run of the process
    assert depthwise_conv() is computed
    with Convolutions() as convolutions:
        after = layer(images)
    assert convolutions.dtypes == [torch.bfloat16 if gpu else torch.float32]
    assert after.dtype == torch.bfloat16
    np.testing.assert_allclose(
        *(keras.ops.convert_to_numpy(keras.ops.cast(answer, "float32")) for answer in (after, before)), atol=0.02
    )


def depthwise_conv():
    from keras.src.backend.torch import nn

    return nn.depthwise_conv


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fast_dropout_zeroes_its_share_and_scales_the_rest(dtype):
    keras.utils.set_random_seed(0)
    ones = keras.ops.ones((40, 50, 10), dtype=dtype)
    dropped = FastDropout(0.25, dtype=dtype)(ones, training=True)
    assert keras.backend.standardize_dtype(dropped.dtype) == dtype
    values = keras.ops.convert_to_numpy(keras.ops.cast(dropped, "float32"))
    assert np.mean(values == 0) == pytest.approx(0.25, abs=0.015)
    np.testing.assert_allclose(values[values != 0], 1 / 0.75, rtol=4e-3)


def test_fast_dropout_is_off_outside_training_and_repeatable_with_a_seed():
    layer = FastDropout(0.5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(IMAGES, training=False)), IMAGES)
    answers = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        answers.append(keras.ops.convert_to_numpy(layer(IMAGES, training=True)))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert (answers[0] != answers[2]).any()


def test_fast_dropout_with_a_seed_or_noise_shape_equals_keras():
    slow = keras.layers.Dropout(0.5, seed=3)(IMAGES, training=True)
    fast = FastDropout(0.5, seed=3)(IMAGES, training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(fast), keras.ops.convert_to_numpy(slow))
    rows = keras.ops.convert_to_numpy(FastDropout(0.5, noise_shape=(3, 1, 1, 1))(np.ones_like(IMAGES), training=True))
    assert all(len(np.unique(row)) == 1 for row in rows)
