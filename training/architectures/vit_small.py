"""A small Vision Transformer: a stem of three convolutions to 36 tokens, six attention layers, mean of the tokens.

Reference:
    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020.
    Xiao et al., "Early Convolutions Help Transformers See Better", 2021 (the stem instead of patches).
    Beyer, Zhai and Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022 (mean instead of a class token).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from app.contract.preprocess import CROP_SIZE_PX
from training.architectures import Form
from training.architectures.blocks import classify, convolve, drop, image_input
from training.architectures.layers import ExportableLayerNormalization, PositionEmbedding
from training.architectures.options import NetworkOptions

# One width for each layer; all are equal, because tokens keep their width.
DEFAULTS: dict[str, Any] = {"widths": (192,) * 6, "stage_dropout": 0.1, "head_dropout": 0.1, "normalisation": "centre"}

_HALVINGS = 3  # convolutions of the stem; each halves the side and doubles the channels, up to the token width
_TOKENS = (CROP_SIZE_PX // 2**_HALVINGS) ** 2
_HEAD_WIDTH = 32


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).

    Args:
        options: `widths` is the token width, once for each layer.
        form: Only the layout of the stem differs.
    """
    image, features = image_input(options, form, open_side=False)
    width = options.widths[0]
    for index in range(1, _HALVINGS + 1):
        channels = width // 2 ** (_HALVINGS - index)
        features = convolve(features, channels, 3, f"stem{index}", strides=2)
    features = layers.Conv2D(width, 1, name="patches")(features)
    if form is Form.SERVED:
        features = layers.Permute((2, 1), name="tokens")(layers.Reshape((width, _TOKENS), name="rows")(features))
    else:
        features = layers.Reshape((_TOKENS, width), name="tokens")(features)
    features = PositionEmbedding(name="positions")(features)
    for index in range(1, len(options.widths) + 1):
        features = _encode(features, options.stage_dropout, f"layer{index}")
    features = ExportableLayerNormalization(epsilon=1e-6, name="norm")(features)
    features = layers.GlobalAveragePooling1D(data_format="channels_last", name="pool")(features)
    features = drop(features, options.head_dropout, "head_dropout")
    return classify(image, features, "vit_small", small_logits=True)


def _encode(tokens: Any, dropout: float, name: str) -> Any:
    width = tokens.shape[-1]
    normalised = ExportableLayerNormalization(epsilon=1e-6, name=f"{name}_attention_norm")(tokens)
    # The inputs of all four projections have this width. The default of Keras counts the heads as pixels of a kernel;
    # its deviation is a quarter of this one, and attention then has almost no effect in the first epochs.
    initial = keras.initializers.RandomNormal(stddev=width**-0.5)
    attention = layers.MultiHeadAttention(
        max(1, width // _HEAD_WIDTH), min(width, _HEAD_WIDTH), kernel_initializer=initial, name=f"{name}_attention"
    )
    attended = drop(attention(normalised, normalised), dropout, f"{name}_attention_dropout")
    tokens = layers.Add(name=f"{name}_attention_add")([tokens, attended])
    hidden = ExportableLayerNormalization(epsilon=1e-6, name=f"{name}_mlp_norm")(tokens)
    hidden = layers.Dense(4 * width, activation="gelu", name=f"{name}_mlp_expand")(hidden)
    hidden = drop(layers.Dense(width, name=f"{name}_mlp_shrink")(hidden), dropout, f"{name}_mlp_dropout")
    return layers.Add(name=f"{name}_mlp_add")([tokens, hidden])
