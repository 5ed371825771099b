"""Keras' MobileNetV2 with global average pool, dropout twice and a dense layer of 128 between.

Reference:
    San Diego report: all layers unfrozen, Adam 1e-5, class weights, 30 epochs, 50.54 %, the report's best.
    Sandler et al., "MobileNetV2", 2018.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, dense_layer, drop
from training.architectures.imagenet import base_features, with_fast_normalisation
from training.config import ModelConfig

DEFAULTS = {
    "head_dropout": 0.1,  # what a network that begins from nothing bears; the report's config has 0.5
    "dense_units": 128,
    "input_size_px": 48,
    "pretrained": None,
    "freeze_base": False,
}


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    The dense layer is normalised as well: without, most of its units never come on (see `cnn_four_layer`).
    """
    image, features = base_features(config, form)
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = dense_layer(drop(features, config.head_dropout, "pool_dropout"), config, normalised=True)
    return with_fast_normalisation(classify(image, features, "mobilenet_v2", calm=True))
