"""Keras' ResNet50 with global average pool, a dense layer and dropout.

Reference:
    San Diego report: frozen ImageNet base, dense 1024, 224 px, 20 epochs, 24.81 %.
    He et al., "Deep Residual Learning for Image Recognition", 2015.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, dense_layer
from training.architectures.imagenet import base_features, with_fast_normalisation
from training.config import ModelConfig

DEFAULTS = {
    "head_dropout": 0.1,  # what a network that begins from nothing bears; the report's config has 0.5
    "dense_units": 1024,
    "input_size_px": 48,
    "pretrained": None,
    "freeze_base": False,
}


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    The dense layer is normalised as well: without, 19 in 20 of its units never come on (see `cnn_four_layer`).
    """
    image, features = base_features(config, form)
    features = dense_layer(layers.GlobalAveragePooling2D(name="pool")(features), config, normalised=True)
    return with_fast_normalisation(classify(image, features, "resnet50", calm=True))
