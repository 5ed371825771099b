"""A VGG that is trained with three branches per convolution and served with one.

Reference:
    Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021. Here max-pools halve the side, as in this
    project's VGG, instead of strides, so that the SERVED form is that VGG.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from training.architectures import Form, vgg
from training.architectures.blocks import channel_axis, classify, convolve, drop, image_input, normalise
from training.architectures.options import NetworkOptions

Array = vgg.Array

DEFAULTS = vgg.DEFAULTS


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: TRAINED with 3x3, 1x1 and, where the width stays, identity branches; SERVED a plain VGG.

    Returns:
        A model from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7).
    """
    if form is Form.SERVED:
        return vgg.build(options, form)
    image, features = image_input(options, form)
    for stage, width in enumerate(options.widths, start=1):
        for index in range(1, options.convolutions_per_stage + 1):
            name = f"block{stage}_conv{index}"
            branches = [
                convolve(features, width, 3, name, relu=False),
                convolve(features, width, 1, f"{name}_1x1", relu=False),
            ]
            if features.shape[channel_axis()] == width:
                branches.append(normalise(features, f"{name}_identity_bn"))
            features = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")(branches))
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
        features = drop(features, options.stage_dropout, f"block{stage}_dropout")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = drop(features, options.head_dropout, "head_dropout")
    return classify(image, features, "repvgg")


def folded_weights(trained: keras.Model, name: str) -> list[Array]:
    """Return kernel and bias of one convolution of the SERVED form: the sum of the 3x3 kernels of the branches."""
    kernel, bias = vgg.folded_weights(trained, name)
    (point,) = trained.get_layer(f"{name}_1x1").get_weights()
    branches = [vgg.folded(_centred(point), trained.get_layer(f"{name}_1x1_bn"))]
    if (identity := f"{name}_identity_bn") in {layer.name for layer in trained.layers}:
        unchanged = np.eye(kernel.shape[-1], dtype=kernel.dtype)[np.newaxis, np.newaxis]
        branches.append(vgg.folded(_centred(unchanged), trained.get_layer(identity)))
    for more_kernel, more_bias in branches:
        kernel, bias = kernel + more_kernel, bias + more_bias
    return [kernel, bias]


def _centred(kernel: Array) -> Array:
    """Return a 1x1 kernel (1, 1, in, out) as the centre of a 3x3 kernel."""
    return np.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
