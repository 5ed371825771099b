"""The VGG-style network that the service ships: pairs of 3x3 convolutions between max-pools, one small head.

Reference:
    Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014 (the blocks).
    Pramerdorfer and Kampel, "Facial Expression Recognition using CNNs: State of the Art", 2016 (a VGG for FER2013).
    Ioffe and Szegedy, "Batch Normalization", 2015.
    Face the Data, UT Austin, 2025 (the published system of this key: deeper stacks of 3x3 between max-pools, 62 %).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input
from training.architectures.options import NetworkOptions

Array = npt.NDArray[np.float32]

DEFAULTS: dict[str, Any] = {
    "widths": (64, 128, 256, 512),
    "convolutions_per_stage": 2,
    "stage_dropout": 0.0,
    "head_dropout": 0.0,
    "normalisation": "centre",
}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network.

    Args:
        options: `widths` are the channels of each stage; each stage halves the side.
        form: TRAINED leaves the side open, so that a run can train at sizes other than 48, and has a
            normalisation after every convolution; SERVED has biases instead.

    Returns:
        A model from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7).
    """
    image, features = image_input(options, form)
    for stage, width in enumerate(options.widths, start=1):
        for index in range(1, options.convolutions_per_stage + 1):
            features = convolve(features, width, 3, f"block{stage}_conv{index}", normalised=form is Form.TRAINED)
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
        features = drop(features, options.stage_dropout, f"block{stage}_dropout")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = drop(features, options.head_dropout, "head_dropout")
    return classify(image, features, "vgg")


def folded_weights(trained: keras.Model, name: str) -> list[Array]:
    """Return kernel and bias of one convolution of the SERVED form.

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks", 2018, section 3.2 (the folding).
    """
    (kernel,) = trained.get_layer(name).get_weights()
    return list(folded(kernel, trained.get_layer(f"{name}_bn")))


def folded(kernel: Array, normalisation: keras.layers.BatchNormalization) -> tuple[Array, Array]:
    """Return kernel and bias of the convolution that equals a kernel (H, W, in, out) and the normalisation after it."""
    gamma, beta, mean, variance = normalisation.get_weights()
    factor = gamma / np.sqrt(variance + normalisation.epsilon)
    return kernel * factor, beta - mean * factor
