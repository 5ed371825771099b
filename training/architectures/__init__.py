"""The networks, one readable builder per file, by key.

Every builder takes the model section of a config and a `Form`, and returns a functional model: input `image` uint8
(N, 48, 48, 1) raw 0-255, output `logits` float32 (N, 7). A builder knows two forms of its network:

- TRAINED: channels last (fast to train), batch normalisation after each convolution, named `<convolution>_bn`.
- SERVED: channels first (no transposes in ONNX), no batch normalisation; convolutions have biases instead, into which
  `training.export` folds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING

from training.errors import TrainingError

if TYPE_CHECKING:
    import keras

    from training.config import ModelConfig


class Form(Enum):
    """For what a network is built; see the module."""

    TRAINED = auto()
    SERVED = auto()


def build(config: ModelConfig, form: Form = Form.TRAINED) -> keras.Model:
    """Builds the network that a config names, with fresh weights.

    Raises:
        TrainingError: No builder has that name.
    """
    from training.architectures import vgg

    builders: Mapping[str, Callable[[ModelConfig, Form], keras.Model]] = {"vgg": vgg.build}
    if config.architecture not in builders:
        raise TrainingError(
            f"unknown architecture; expected one of {', '.join(sorted(builders))}. Received: {config.architecture!r}"
        )
    return builders[config.architecture](config, form)
