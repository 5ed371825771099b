"""The ImageNet networks of Keras as bases; the graph converts grey pixels to their colour input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from app.contract.preprocess import CROP_SIZE_PX
from training.architectures import Form
from training.architectures.blocks import NORMALISATION_MOMENTUM
from training.architectures.layers import FastBatchNormalization
from training.architectures.options import NetworkOptions
from training.errors import TrainingError


@dataclass(frozen=True)
class _Network:
    """A network of Keras, and the conversion of raw grey levels 0 to 255 to its input.

    Attributes:
        create: Constructor of Keras.
        factor: Factor for the grey level.
        offsets: Values added to the three channels afterwards, in the channel order of the weights.
    """

    create: Callable[..., keras.Model]
    factor: float
    offsets: tuple[float, float, float]


# The values are those of `keras.applications.imagenet_utils.preprocess_input`: "caffe" and "tf".
_NETWORKS: Mapping[str, _Network] = {
    "resnet50": _Network(keras.applications.ResNet50, 1.0, (-103.939, -116.779, -123.68)),
    "mobilenet_v2": _Network(keras.applications.MobileNetV2, 1 / 127.5, (-1.0, -1.0, -1.0)),
}


def base_features(options: NetworkOptions, form: Form) -> tuple[Any, Any]:
    """Build the input and the feature maps of an ImageNet network with fresh weights.

    Args:
        options: The graph scales images to the side `input_size_px`; with `freeze_base` only the head is trained.
        form: SERVED has the channels first.

    Returns:
        `image` uint8 (N, 48, 48, 1) and feature maps, float32.
    """
    network = _NETWORKS[options.architecture]
    side, served = options.input_size_px, form is Form.SERVED
    image = keras.Input((CROP_SIZE_PX, CROP_SIZE_PX, 1), dtype="uint8", name="image")
    features = layers.Rescaling(network.factor, dtype="float32", name="rescale")(image)
    # `layers.Resizing` sets `training` to True for all later layers if it is called without it (Keras 3.15).
    features = keras.ops.image.resize(features, (side, side), data_format="channels_last")
    if served:
        features = layers.Reshape((1, side, side), name="channels_first")(features)
    axis = 1 if served else -1
    features = layers.Concatenate(axis=axis, dtype="float32", name="grey_to_colour")([features] * 3)
    offsets = [-offset for offset in network.offsets]
    features = layers.Normalization(
        axis=axis, mean=offsets, variance=[1.0] * 3, dtype="float32", name="offset_channels"
    )(features)
    base = network.create(include_top=False, weights=None, input_tensor=features)
    for layer in base.layers:
        layer.trainable = not options.freeze_base
    return image, base.output


def load_base(model: keras.Model, architecture: str, source: str) -> None:
    """Load ImageNet weights into the base of a fresh TRAINED model.

    Args:
        model: A model built with `base_features`.
        architecture: Key of the network.
        source: `imagenet`, which Keras downloads once, or a file that Keras published (`*_notop.h5`).

    Raises:
        TrainingError: The weights cannot be read or downloaded, or are of another network.
    """
    try:
        pretrained = _NETWORKS[architecture].create(include_top=False, weights=source, input_shape=(224, 224, 3))
        for layer in pretrained.layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
    except Exception as error:  # Keras, h5py and urllib have different exceptions
        raise TrainingError(
            f"the ImageNet weights of {architecture} cannot be loaded from {source!r}: {error}. Set `pretrained` to a"
            " file that Keras published (*_notop.h5)."
        ) from error


def with_fast_normalisation(model: keras.Model) -> keras.Model:
    """Return a copy of a fresh network with this project's batch normalisation, which trains faster and can be folded.

    Its momentum is lower too. The MobileNetV2 of Keras has 0.999, for the half million steps of ImageNet: after the two
    thousand steps of a short run, its statistics were so wrong that every face had the same prediction.
    """

    def clone(layer: keras.Layer) -> keras.Layer:
        if type(layer) is layers.BatchNormalization:
            return FastBatchNormalization.from_config(layer.get_config() | {"momentum": NORMALISATION_MOMENTUM})
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)
