"""A stem, two Inception modules, dropout, average pool and a dense layer.

Reference:
    Buffalo report (six models): 48.4 %.
    Szegedy et al., "Going Deeper with Convolutions", 2014.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input, inception
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {"widths": (64, 128, 256), "head_dropout": 0.4, "normalisation": "unit"}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: `widths` are the widths of the stem and of the modules.

    Returns:
        A model from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7).
    """
    image, features = image_input(options, form)
    features = convolve(features, options.widths[0], 3, "stem")
    for stage, width in enumerate(options.widths[1:], start=1):
        features = layers.MaxPooling2D(2, name=f"inception{stage}_before_pool")(features)
        features = inception(features, width, f"inception{stage}")
    features = drop(features, options.head_dropout, "head_dropout")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    return classify(image, features, "googlenet")
