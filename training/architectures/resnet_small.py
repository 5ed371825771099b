"""A ResNet for small images: two residual blocks at each of three resolutions.

Reference:
    Face the Data, UT Austin, 2025: residual blocks with skips, 6 epochs, 60 %.
    He et al., "Deep Residual Learning for Image Recognition", 2015.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input, residual
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {"widths": (64, 128, 256), "head_dropout": 0.3, "normalisation": "unit"}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(options, form)
    features = convolve(features, options.widths[0], 3, "stem")
    for stage, width in enumerate(options.widths, start=1):
        features = residual(features, width, f"block{stage}_unit1", strides=2)
        features = residual(features, width, f"block{stage}_unit2")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = drop(features, options.head_dropout, "head_dropout")
    return classify(image, features, "resnet_small")
