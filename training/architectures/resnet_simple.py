"""A ResNet of few layers: a stem, one residual block at each of three sides, and the head.

Reference:
    Buffalo report (six models): 60.9 %.
    He et al., "Deep Residual Learning for Image Recognition", 2015.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input, residual
from training.config import ModelConfig

DEFAULTS = {"widths": (64, 128, 256), "head_dropout": 0.5, "normalisation": "unit"}


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network: from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(config, form)
    features = convolve(features, config.widths[0], 3, "stem")
    for stage, width in enumerate(config.widths, start=1):
        features = residual(features, width, f"block{stage}")
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = drop(features, config.head_dropout, "head_dropout")
    return classify(image, features, "resnet_simple")
