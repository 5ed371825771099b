"""The networks, one readable builder per file, by key.

Every builder takes the model section of a config and a `Form`, and returns a functional model: input `image` uint8
(N, 48, 48, 1) raw 0-255, output `logits` float32 (N, 7). A builder knows two forms of its network:

- TRAINED: channels last (fast to train).
- SERVED: channels first (no transposes in ONNX). `vgg` and `repvgg` have no batch normalisation and no branches in this
  form; `fold` puts them into the convolutions. The others have the same weights in both forms, and leave the
  normalisations behind convolutions to ONNX Runtime's own folding.

Each file names its options in `DEFAULTS`, with the values of its source: an option that a network does not have is
refused, one that a config leaves out is filled in.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol, cast

from training.errors import TrainingError

if TYPE_CHECKING:
    import keras

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
    # designs of today at 48x48
    "convnext_small",
    "repvgg",
    "vit_small",
)
LOGITS = "logits"  # the name of every network's last layer
# Networks whose served form is nothing but 3x3 convolutions, ReLU and max-pools up to the head.
PLAIN_WHEN_SERVED = frozenset({"vgg", "repvgg"})


class Form(Enum):
    """For what a network is built; see the module."""

    TRAINED = auto()
    SERVED = auto()


class _Builder(Protocol):
    DEFAULTS: Mapping[str, Any]

    def build(self, config: ModelConfig, form: Form) -> keras.Model: ...


def build(config: ModelConfig, form: Form = Form.TRAINED) -> keras.Model:
    """Builds the network that a config names, with fresh weights.

    Raises:
        TrainingError: No builder has that name, or the config sets an option that the network does not have.
    """
    import keras

    builder = _builder(config.architecture)
    filled = _filled(config, builder.DEFAULTS)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if form is Form.SERVED else "channels_last")
    try:
        return builder.build(filled, form)
    finally:
        keras.config.set_image_data_format(before)


def load_pretrained(model: keras.Model, config: ModelConfig) -> None:
    """Puts the ImageNet weights that a config asks for into the base of a fresh TRAINED model; else does nothing.

    Raises:
        TrainingError: The weights cannot be read or downloaded, or are of another network.
    """
    if config.pretrained is None:
        return
    from training.architectures import imagenet

    imagenet.load_base(model, config.architecture, config.pretrained)


def fold(trained: keras.Model, config: ModelConfig, head: str = LOGITS) -> keras.Model:
    """The SERVED form of a TRAINED network, computing the same logits.

    Args:
        trained: The network, its layers named as its builder names them.
        config: What it was built from.
        head: The dense layer of `trained` that answers.
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


def _filled(config: ModelConfig, defaults: Mapping[str, Any]) -> ModelConfig:
    fields = type(config).model_fields
    given = {name for name, field in fields.items() if getattr(config, name) != field.default} - {"architecture"}
    if unknown := given - defaults.keys():
        raise TrainingError(
            f"{config.architecture} has no {', '.join(sorted(unknown))}; its options are {', '.join(sorted(defaults))}"
        )
    return config.model_copy(update={name: value for name, value in defaults.items() if name not in given})
