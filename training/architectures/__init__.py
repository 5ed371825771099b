"""The networks, one readable builder per file, by key.

Every builder takes its options and a `Form`, and returns a functional model: input `image` uint8 (N, 48, 48, 1) with
raw values 0 to 255, output `logits` float32 (N, 7). Each network has two forms:

- TRAINED: channels last, which trains fast.
- SERVED: channels first, which needs no transposes in ONNX. `vgg` and `repvgg` have no batch normalisation and no
  branches in this form; `fold` merges them into the convolutions. The other networks have the same weights in both
  forms; ONNX Runtime folds their normalisations after convolutions.

Each file lists its options in `DEFAULTS`, with the values of its source. A config that sets another option is refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol, cast

from training.errors import TrainingError

if TYPE_CHECKING:
    import keras

    from training.architectures.options import NetworkOptions
    from training.config import ModelConfig

ARCHITECTURES = (
    # published systems on FER2013
    "cbam",
    "cnn_basic",
    "cnn_batchnorm",
    "cnn_four_layer",
    "cnn_three_block",
    "googlenet",
    "mobilenet_v2",
    "newnet",
    "resnet50",
    "resnet_simple",
    "resnet_small",
    "roglenet",
    "unet",
    "vgg",
    # recent designs, at 48x48 pixels
    "convnext_small",
    "repvgg",
    "vit_small",
)
LOGITS = "logits"  # name of the last layer of every network
# Networks whose SERVED form has only 3x3 convolutions, ReLU and max-pools before the head.
PLAIN_WHEN_SERVED = frozenset({"vgg", "repvgg"})


class Form(Enum):
    """The purpose that a network is built for; see the module."""

    TRAINED = auto()
    SERVED = auto()


class _Builder(Protocol):
    DEFAULTS: Mapping[str, Any]

    def build(self, options: NetworkOptions, form: Form) -> keras.Model: ...


def build(config: ModelConfig, form: Form = Form.TRAINED) -> keras.Model:
    """Build the network that a config names, with fresh weights.

    Raises:
        TrainingError: No builder has that name, or the config sets an option that the network does not have.
    """
    import keras

    from training.architectures.options import resolve_options

    builder = _builder(config.architecture)
    options = resolve_options(config, builder.DEFAULTS)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if form is Form.SERVED else "channels_last")
    try:
        return builder.build(options, form)
    finally:
        keras.config.set_image_data_format(before)


def load_pretrained(model: keras.Model, config: ModelConfig) -> None:
    """Load the ImageNet weights that a config names into the base of a fresh TRAINED model; else do nothing.

    Raises:
        TrainingError: The weights cannot be read or downloaded, or are of another network.
    """
    if config.pretrained is None:
        return
    from training.architectures import imagenet

    imagenet.load_base(model, config.architecture, config.pretrained)


def fold(trained: keras.Model, config: ModelConfig, head: str = LOGITS) -> keras.Model:
    """Return the SERVED form of a TRAINED network, which computes the same logits.

    Args:
        trained: The network, with the layer names of its builder.
        config: The config that it was built from.
        head: Name of the dense layer of `trained` whose logits are served.
    """
    served = build(config, Form.SERVED)
    builder = _builder(config.architecture)
    for layer in served.layers:
        if not layer.weights:
            continue
        if layer.name == LOGITS:
            weights = trained.get_layer(head).get_weights()
        elif hasattr(builder, "folded_weights"):
            weights = builder.folded_weights(trained, layer.name)
        else:
            weights = trained.get_layer(layer.name).get_weights()
        layer.set_weights(weights)
    return served


def _builder(key: str) -> _Builder:
    if key not in ARCHITECTURES:
        raise TrainingError(
            f"unknown architecture; expected one of {', '.join(sorted(ARCHITECTURES))}. Received: {key!r}"
        )
    return cast(_Builder, importlib.import_module(f"{__name__}.{key}"))
