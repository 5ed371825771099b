"""The MobileNetV2 of Keras with global average pool, dropout, a dense layer of 128 and dropout again.

Reference:
    San Diego report: all layers unfrozen, Adam 1e-5, class weights, 30 epochs, 50.54 %, the report's best.
    Sandler et al., "MobileNetV2", 2018.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, dense_layer, drop
from training.architectures.imagenet import base_features, with_fast_normalisation
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {
    "head_dropout": 0.1,  # suits a network with random first weights; the report's config has 0.5
    "dense_units": 128,
    "input_size_px": 48,
    "pretrained": None,
    "freeze_base": False,
}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    The dense layer is normalised as well: without it, most of its units stay zero (see `cnn_four_layer`).
    """
    image, features = base_features(options, form)
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = dense_layer(drop(features, options.head_dropout, "pool_dropout"), options, normalised=True)
    return with_fast_normalisation(classify(image, features, "mobilenet_v2", small_logits=True))
