"""Three blocks of two convolutions, max-pool and dropout, and a dense layer: 1,468,135 parameters.

Reference:
    N. Silva, slides on FER2013: 35 epochs, 59.53 %, macro F1 0.52.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, dense_layer, drop, image_input
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {
    "widths": (32, 64, 128),
    "stage_dropout": 0.25,
    "head_dropout": 0.5,
    "dense_units": 256,
    "normalisation": "unit",
}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(options, form, open_side=False)
    for stage, width in enumerate(options.widths, start=1):
        for index in (1, 2):
            features = convolve(features, width, 3, f"block{stage}_conv{index}", normalised=False)
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
        features = drop(features, options.stage_dropout, f"block{stage}_dropout")
    features = dense_layer(layers.Flatten(name="flatten")(features), options)
    return classify(image, features, "cnn_three_block")
