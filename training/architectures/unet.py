"""A U-Net as a classifier: encoder and decoder with skips, average pool, dense.

Reference:
    Buffalo report (six models): 60.7 %.
    Ronneberger, Fischer and Brox, "U-Net", 2015.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, drop, encode_decode, image_input
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {"widths": (32, 64, 128), "head_dropout": 0.3, "normalisation": "unit"}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    The full-size maps are averaged over 8x8 squares and flattened, because one global mean has no positions.
    """
    image, features = image_input(options, form, open_side=False)
    features = encode_decode(features, options.widths)
    features = layers.AveragePooling2D(8, name="pool")(features)
    features = drop(layers.Flatten(name="flatten")(features), options.head_dropout, "head_dropout")
    return classify(image, features, "unet")
