"""Sets Keras and its backend up for a run: precision, seeds, and what makes small networks fast on a CPU.

With channels last, Keras 3.15 copies the input of every convolution and pooling to channels first (`.contiguous()` in
`_transpose_spatial_inputs`), for `torch.export`'s sake. A convolution copies it back. A pooling goes on in that order,
in which PyTorch pools ten times slower on a CPU, and the activations beside it then work on mixed orders. What
is exported has channels first, so a view does: the sums are the same, and plain networks train up to twice as fast.

On a CPU a depthwise convolution of stride 2 takes ten to thirty times as long backwards in bfloat16 as in float32; with
stride 1 now the one is quicker, now the other. So all are computed in float32 there.
"""

from __future__ import annotations

from typing import Any

import keras

from training.config import TrainConfig


def prepare_backend(config: TrainConfig) -> None:
    """Sets precision and seeds, and turns off what slows a CPU.

    Which are: copied feature maps, denormals, fused attention, and depthwise convolutions in bfloat16.
    """
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    if keras.config.backend() == "torch":
        keep_channels_last()
        import torch

        torch.set_flush_denormal(True)  # denormal floats slow a backward pass several times over
        if not torch.cuda.is_available():
            # Backwards, the fused kernel takes twice as long as plain products over the tokens of a 48x48 crop.
            torch.backends.cuda.enable_flash_sdp(False)
            widen_depthwise()


def keep_channels_last() -> None:
    """Lets Keras' torch backend hand on a view of its feature maps, in this process from now on."""
    from keras.src.backend.torch import nn

    nn._transpose_spatial_inputs = _channels_first_view


def _channels_first_view(inputs: Any) -> Any:
    return inputs.movedim(-1, 1)


def widen_depthwise() -> None:
    """Lets Keras' torch backend compute depthwise convolutions of bfloat16 in float32, in this process from now on."""
    from keras.src.backend.torch import nn

    own = nn.depthwise_conv
    if own.__module__ == __name__:  # done before: a process may train several configs
        return

    def in_float32(inputs: Any, kernel: Any, *arguments: Any, **options: Any) -> Any:
        if keras.backend.standardize_dtype(inputs.dtype) != "bfloat16":
            return own(inputs, kernel, *arguments, **options)
        inputs, kernel = (keras.ops.cast(tensor, "float32") for tensor in (inputs, kernel))
        return keras.ops.cast(own(inputs, kernel, *arguments, **options), "bfloat16")

    nn.depthwise_conv = in_float32
