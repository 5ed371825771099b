"""A ResNet for small images: two residual blocks at each of three sides.

Reference:
    Face the Data, UT Austin, 2025: residual blocks with skips, 6 epochs, 60 %.
    He et al., "Deep Residual Learning for Image Recognition", 2015.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input, residual
from training.config import ModelConfig

DEFAULTS = {"widths": (64, 128, 256), "head_dropout": 0.3, "normalisation": "unit"}


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network: from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(config, form)
    features = convolve(features, config.widths[0], 3, "stem")
    for stage, width in enumerate(config.widths, start=1):
        features = residual(features, width, f"block{stage}_unit1", strides=2)
        features = residual(features, width, f"block{stage}_unit2")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = drop(features, config.head_dropout, "head_dropout")
    return classify(image, features, "resnet_small")
