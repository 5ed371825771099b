"""Three convolutions with ReLU, max-pool and dropout: the smallest of the published systems.

Reference:
    Face the Data, UT Austin, 2025: 25 epochs, 58 %. The report gives no widths; these are common ones.
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
    "dense_units": 128,
    "normalisation": "unit",
}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(options, form, open_side=False)
    for stage, width in enumerate(options.widths, start=1):
        features = convolve(features, width, 3, f"block{stage}_conv1", normalised=False)
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
        features = drop(features, options.stage_dropout, f"block{stage}_dropout")
    features = dense_layer(layers.Flatten(name="flatten")(features), options)
    return classify(image, features, "cnn_basic")
