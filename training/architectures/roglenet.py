"""A mix of ResNet and GoogLeNet: three parallel paths, max-pool, a residual branch, a last convolution, dense.

Reference:
    Buffalo report (six models), its own design and its best: 63.6 %.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.architectures import Form
from training.architectures.blocks import classify, concatenate, convolve, drop, image_input
from training.architectures.options import NetworkOptions

DEFAULTS: dict[str, Any] = {"widths": (48, 96, 192), "head_dropout": 0.5, "normalisation": "unit"}


def build(options: NetworkOptions, form: Form) -> keras.Model:
    """Build the network: one stage of parallel paths for each width; every stage halves the side.

    Returns:
        A model from `image` uint8 (N, 48, 48, 1) to `logits` float32 (N, 7).
    """
    image, features = image_input(options, form, open_side=False)
    for stage, width in enumerate(options.widths, start=1):
        features = _pathways(features, width, f"stage{stage}")
    features = convolve(features, options.widths[-1], 3, "last_conv")
    features = drop(layers.Flatten(name="flatten")(features), options.head_dropout, "head_dropout")
    return classify(image, features, "roglenet")


def _pathways(features: Any, width: int, name: str) -> Any:
    """Add one stage: paths of 3x3, of 1x1 and 3x3, and of 1x1 and 5x5, max-pool, and the residual branch."""
    third = width // 3
    joined = concatenate(
        [
            convolve(features, third, 3, f"{name}_path1"),
            convolve(convolve(features, third, 1, f"{name}_path2_reduce"), third, 3, f"{name}_path2"),
            convolve(convolve(features, third, 1, f"{name}_path3_reduce"), third, 5, f"{name}_path3"),
        ],
        f"{name}_concatenate",
    )
    pooled = layers.MaxPooling2D(2, name=f"{name}_pool")(joined)
    skip = convolve(features, 3 * third, 1, f"{name}_skip", strides=2, relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([pooled, skip]))
