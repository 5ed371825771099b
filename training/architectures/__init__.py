"""The networks, one readable builder per file, by key.

Every builder takes the model section of a config and the place of the channel axis, and returns a functional model:
input `image` uint8 (N, 48, 48, 1) raw 0-255, output `logits` float32 (N, 7). Weights do not depend on
the channel axis, so a model trained channels-last (fast to train) is exported channels-first (no transposes in ONNX).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from training.errors import TrainingError

if TYPE_CHECKING:
    import keras

    from training.config import ModelConfig

DataFormat = Literal["channels_last", "channels_first"]


def build(config: ModelConfig, data_format: DataFormat = "channels_last") -> keras.Model:
    """Builds the network that a config names, with fresh weights.

    Raises:
        TrainingError: No builder has that name.
    """
    from training.architectures import vgg

    builders: Mapping[str, Callable[[ModelConfig, DataFormat], keras.Model]] = {"vgg": vgg.build}
    if config.architecture not in builders:
        raise TrainingError(
            f"unknown architecture; expected one of {', '.join(sorted(builders))}. Received: {config.architecture!r}"
        )
    return builders[config.architecture](config, data_format)
