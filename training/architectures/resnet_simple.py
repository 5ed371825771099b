"""A ResNet of few layers: a stem, one residual block at each of three resolutions, and the head.

Reference:
    Buffalo report (six models): 60.9 %.
    He et al., "Deep Residual Learning for Image Recognition", 2015.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input, residual
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {"widths": (64, 128, 256), "head_dropout": 0.5, "normalisation": "unit"}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(options, form)
    features = convolve(features, options.widths[0], 3, "stem")
    for stage, width in enumerate(options.widths, start=1):
        features = residual(features, width, f"block{stage}")
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = drop(features, options.head_dropout, "head_dropout")
    return classify(image, features, "resnet_simple")
