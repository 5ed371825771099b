"""U-Net's encoder and decoder, then a convolution, an Inception module, dropout, average pool, convolution, dense.

Reference:
    Buffalo report (six models), its own design: 60.6 %.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, encode_decode, image_input, inception
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {"widths": (32, 64, 128), "head_dropout": 0.3, "normalisation": "unit"}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    After the decoder, a convolution of stride 2 halves the side, because the Inception module at the full side would
    need most of the arithmetic of the network.
    """
    image, features = image_input(options, form, open_side=False)
    features = encode_decode(features, options.widths)
    features = convolve(features, options.widths[1], 3, "middle_conv", strides=2)
    features = inception(features, options.widths[-1], "inception")
    features = drop(features, options.head_dropout, "head_dropout")
    features = layers.AveragePooling2D(4, name="pool")(features)
    features = convolve(features, options.widths[-1], 3, "last_conv")
    return classify(image, layers.Flatten(name="flatten")(features), "newnet")
