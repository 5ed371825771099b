"""U-Net's encoder and decoder, then a convolution, an Inception module, dropout, average pool, convolution, dense.

Reference:
    Buffalo report (six models), its own design: 60.6 %.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, encode_decode, image_input, inception
from training.config import ModelConfig

DEFAULTS = {"widths": (32, 64, 128), "head_dropout": 0.3, "normalisation": "unit"}


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    Behind the decoder a convolution of stride 2 comes before the module, which would cost most of the network at the
    full side.
    """
    image, features = image_input(config, form, open_side=False)
    features = encode_decode(features, config.widths)
    features = convolve(features, config.widths[1], 3, "middle_conv", strides=2)
    features = inception(features, config.widths[-1], "inception")
    features = drop(features, config.head_dropout, "head_dropout")
    features = layers.AveragePooling2D(4, name="pool")(features)
    features = convolve(features, config.widths[-1], 3, "last_conv")
    return classify(image, layers.Flatten(name="flatten")(features), "newnet")
