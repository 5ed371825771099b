"""The ResNet50 of Keras with global average pool, a dense layer and dropout.

Reference:
    San Diego report: frozen ImageNet base, dense 1024, 224 px, 20 epochs, 24.81 %.
    He et al., "Deep Residual Learning for Image Recognition", 2015.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, dense_layer
from training.architectures.imagenet import base_features, with_fast_normalisation
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {
    "head_dropout": 0.1,  # suits a network with random first weights; the report's config has 0.5
    "dense_units": 1024,
    "input_size_px": 48,
    "pretrained": None,
    "freeze_base": False,
}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    The dense layer is normalised as well: without it, 95 % of its units stay zero (see `cnn_four_layer`).
    """
    image, features = base_features(options, form)
    features = dense_layer(layers.GlobalAveragePooling2D(name="pool")(features), options, normalised=True)
    return with_fast_normalisation(classify(image, features, "resnet50", small_logits=True))
