"""Prepare Keras and its backend for a run: precision, seeds, and settings that make small networks fast on a CPU.

With channels last, Keras 3.15 copies the input of every convolution and pooling to channels first (`.contiguous()` in
`_transpose_spatial_inputs`), which only `torch.export` needs. A convolution copies its input back. A pooling continues
in channels-first order, in which PyTorch pools ten times slower on a CPU, and later layers then work on mixed orders.
Exported networks are channels first already, so a view replaces the copy: results are the same, and plain networks
train up to twice as fast.

On a CPU, the backward pass of a depthwise convolution with stride 2 is 10 to 30 times slower in bfloat16 than in
float32; with stride 1, either can be faster. Therefore depthwise convolutions are computed in float32 on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from training.fit.precision import Policy

# Functions of Keras' torch backend that this module has replaced, by name.
_keras_own: dict[str, Callable[..., Any]] = {}


def prepare_backend(precision: Policy, seed: int) -> None:
    """Set precision and seeds, and turn off what slows a CPU down.

    The slow parts are: copied feature maps, denormal floats, fused attention, and depthwise convolutions in bfloat16.
    """
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    if keras.config.backend() != "torch":
        return
    import torch

    gpu = torch.cuda.is_available()
    torch.set_flush_denormal(True)  # denormal floats make a backward pass several times slower
    # On a CPU, the backward pass of the fused kernel takes twice as long as plain products over a 48x48 crop's tokens.
    torch.backends.cuda.enable_flash_sdp(gpu)
    restore_keras()  # an earlier run of this process may have had other settings
    keep_channels_last()
    if not gpu:
        use_float32_depthwise()


def keep_channels_last() -> None:
    """Let Keras' torch backend pass a view of its feature maps on instead of a copy, in this process from now on."""
    _replace("_transpose_spatial_inputs", _channels_first_view)


def use_float32_depthwise() -> None:
    """Let Keras' torch backend compute bfloat16 depthwise convolutions in float32, in this process from now on."""
    _replace("depthwise_conv", _depthwise_conv_in_float32)


def restore_keras() -> None:
    """Undo `keep_channels_last` and `use_float32_depthwise`."""
    from keras.src.backend.torch import nn

    while _keras_own:
        name, function = _keras_own.popitem()
        setattr(nn, name, function)


def _replace(name: str, function: Callable[..., Any]) -> None:
    from keras.src.backend.torch import nn

    _keras_own.setdefault(name, getattr(nn, name))
    setattr(nn, name, function)


def _channels_first_view(inputs: Any) -> Any:
    return inputs.movedim(-1, 1)


def _depthwise_conv_in_float32(inputs: Any, kernel: Any, *arguments: Any, **options: Any) -> Any:
    depthwise_conv = _keras_own["depthwise_conv"]
    if keras.backend.standardize_dtype(inputs.dtype) != "bfloat16":
        return depthwise_conv(inputs, kernel, *arguments, **options)
    inputs, kernel = (keras.ops.cast(tensor, "float32") for tensor in (inputs, kernel))
    return keras.ops.cast(depthwise_conv(inputs, kernel, *arguments, **options), "bfloat16")
