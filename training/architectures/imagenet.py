"""Keras' own ImageNet networks as bases: grey pixels made into what they were trained on, inside the graph."""

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
from training.config import ModelConfig
from training.errors import TrainingError


@dataclass(frozen=True)
class _Network:
    """What Keras calls it, and how raw grey levels 0 to 255 become what its weights expect.

    Attributes:
        create: Keras' constructor.
        factor: Of the grey level.
        offsets: Added to the three channels afterwards, in the order that the weights were trained in.
    """

    create: Callable[..., keras.Model]
    factor: float
    offsets: tuple[float, float, float]


# The figures are those of `keras.applications.imagenet_utils.preprocess_input`: "caffe" and "tf".
_NETWORKS: Mapping[str, _Network] = {
    "resnet50": _Network(keras.applications.ResNet50, 1.0, (-103.939, -116.779, -123.68)),
    "mobilenet_v2": _Network(keras.applications.MobileNetV2, 1 / 127.5, (-1.0, -1.0, -1.0)),
}


def base_features(config: ModelConfig, form: Form) -> tuple[Any, Any]:
    """The input and the feature maps of an ImageNet network with fresh weights.

    Args:
        config: `input_size_px` is the side that images are scaled to inside the graph; `freeze_base` keeps the base
            as it is while the head learns.
        form: SERVED puts the channels first.

    Returns:
        `image` uint8 (N, 48, 48, 1) and float32 feature maps.
    """
    network = _NETWORKS[config.architecture]
    side, served = config.input_size_px, form is Form.SERVED
    image = keras.Input((CROP_SIZE_PX, CROP_SIZE_PX, 1), dtype="uint8", name="image")
    features = layers.Rescaling(network.factor, dtype="float32", name="rescale")(image)
    # Not `layers.Resizing`: called without `training` it says True, and the layers after it believe that (Keras 3.15).
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
        layer.trainable = not config.freeze_base
    return image, base.output


def load_base(model: keras.Model, architecture: str, source: str) -> None:
    """Puts ImageNet weights into the base of a fresh TRAINED model.

    Args:
        model: Built with `base_features`.
        architecture: Key of the network.
        source: `imagenet`, which Keras downloads once and keeps, or a file that Keras published (`*_notop.h5`).

    Raises:
        TrainingError: They cannot be had, or are of another network.
    """
    try:
        pretrained = _NETWORKS[architecture].create(include_top=False, weights=source, input_shape=(224, 224, 3))
        for layer in pretrained.layers:
            if layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
    except Exception as error:  # Keras, h5py and urllib each have their own
        raise TrainingError(f"ImageNet weights of {architecture} from {source!r} cannot be had: {error}") from error


def with_fast_normalisation(model: keras.Model) -> keras.Model:
    """The same fresh network with this project's batch normalisation, which trains faster and folds when served.

    It also follows faster: Keras' MobileNetV2 keeps 999 parts in 1,000 of its statistics at each step, for ImageNet's
    half a million steps. After the two thousand of a short run they were still so far off that every face got the
    same answer.
    """

    def clone(layer: keras.Layer) -> keras.Layer:
        if type(layer) is layers.BatchNormalization:
            return FastBatchNormalization.from_config(layer.get_config() | {"momentum": NORMALISATION_MOMENTUM})
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)
