"""A ConvNeXt-style network for small images: large depthwise kernels, layer normalisation, wide 1x1 pairs.

Reference:
    Liu et al., "A ConvNet for the 2020s", 2022. Fewer, narrower blocks and a stem of stride 2 instead of 4, because
    images have 48 pixels; without layer scale and stochastic depth, which are for much deeper networks.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import channel_axis, classify, drop, image_input
from training.architectures.layers import ExportableLayerNormalization
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {
    "widths": (64, 128, 256),
    "convolutions_per_stage": 2,
    "head_dropout": 0.2,
    "normalisation": "centre",
}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: `convolutions_per_stage` blocks for each width; every stage halves the side.

    Returns:
        A model from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7).
    """
    image, features = image_input(options, form)
    for stage, width in enumerate(options.widths, start=1):
        if stage > 1:
            features = _layer_norm(features, f"stage{stage}_norm")
        features = layers.Conv2D(width, 2, strides=2, name=f"stage{stage}_halve")(features)
        for index in range(1, options.convolutions_per_stage + 1):
            features = _block(features, f"stage{stage}_block{index}")
    features = layers.GlobalAveragePooling2D(name="pool")(features)
    features = ExportableLayerNormalization(epsilon=1e-6, name="norm")(features)
    features = drop(features, options.head_dropout, "head_dropout")
    return classify(image, features, "convnext_small")


def _block(features: Any, name: str) -> Any:
    width = features.shape[channel_axis()]
    inner = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(features)
    inner = _layer_norm(inner, f"{name}_norm")
    inner = layers.Conv2D(4 * width, 1, activation="gelu", name=f"{name}_expand")(inner)
    inner = layers.Conv2D(width, 1, name=f"{name}_shrink")(inner)
    return layers.Add(name=f"{name}_add")([features, inner])


def _layer_norm(features: Any, name: str) -> Any:
    return ExportableLayerNormalization(axis=channel_axis(), epsilon=1e-6, name=name)(features)
