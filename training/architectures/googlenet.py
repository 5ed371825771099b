"""Two Inception modules behind a stem, dropout, average pool, dense.

Reference:
    Buffalo report (six models): 48.4 %.
    Szegedy et al., "Going Deeper with Convolutions", 2014.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input, inception
from training.config import ModelConfig

DEFAULTS = {"widths": (64, 128, 256), "head_dropout": 0.4, "normalisation": "unit"}


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network: `widths` are those of the stem and of the modules.

    Returns:
        A model from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7).
    """
    image, features = image_input(config, form)
    features = convolve(features, config.widths[0], 3, "stem")
    for stage, width in enumerate(config.widths[1:], start=1):
        features = layers.MaxPooling2D(2, name=f"inception{stage}_before_pool")(features)
        features = inception(features, width, f"inception{stage}")
    features = drop(features, config.head_dropout, "head_dropout")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    return classify(image, features, "googlenet")
