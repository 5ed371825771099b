"""Convolutions with channel attention, then spatial attention, and a dense head.

Reference:
    San Diego report: a convolutional backbone with CBAM, 30 epochs at 1e-5, 26.41 %.
    Woo et al., "CBAM: Convolutional Block Attention Module", 2018.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import channel_axis, classify, convolve, dense_layer, image_input
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {
    "widths": (64, 128, 256),
    "convolutions_per_stage": 2,
    "head_dropout": 0.5,
    "dense_units": 256,
    "normalisation": "unit",
}
_REDUCTION = 16  # as in the paper


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7)."""
    image, features = image_input(options, form)
    for stage, width in enumerate(options.widths, start=1):
        for index in range(1, options.convolutions_per_stage + 1):
            features = convolve(features, width, 3, f"block{stage}_conv{index}")
        features = _spatial_attention(_channel_attention(features, f"block{stage}"), f"block{stage}")
        features = layers.MaxPooling2D(2, name=f"block{stage}_pool")(features)
    features = dense_layer(layers.GlobalAveragePooling2D(name="pool")(features), options)
    return classify(image, features, "cbam")


def _channel_attention(features: Any, name: str) -> Any:
    width = features.shape[channel_axis()]
    # One small network processes both the mean and the maximum of every channel.
    squeeze = layers.Conv2D(max(1, width // _REDUCTION), 1, activation="relu", name=f"{name}_channels_squeeze")
    excite = layers.Conv2D(width, 1, name=f"{name}_channels_excite")
    pools = (
        layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_channels_mean"),
        layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_channels_maximum"),
    )
    scores = layers.Add(name=f"{name}_channels_add")([excite(squeeze(pool(features))) for pool in pools])
    attention = layers.Activation("sigmoid", name=f"{name}_channels_attention")(scores)
    return layers.Multiply(name=f"{name}_channels_apply")([features, attention])


def _spatial_attention(features: Any, name: str) -> Any:
    axis = channel_axis()
    described = layers.Concatenate(axis=axis, name=f"{name}_places_describe")(
        [keras.ops.mean(features, axis=axis, keepdims=True), keras.ops.max(features, axis=axis, keepdims=True)]
    )
    attention = layers.Conv2D(1, 7, padding="same", activation="sigmoid", name=f"{name}_places_attention")(described)
    return layers.Multiply(name=f"{name}_places_apply")([features, attention])
