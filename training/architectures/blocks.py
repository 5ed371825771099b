"""The pieces that several networks share. Their layout, channels last or first, is Keras' present setting."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.architectures import LOGITS, Form
from training.architectures.layers import FastBatchNormalization, FastDropout
from training.config import ModelConfig

# Mean and standard deviation of all pixels of FER2013's Training split, as shares of 255.
FER2013_MEAN, FER2013_DEVIATION = 0.5077, 0.2551

# (factor, offset) of raw grey levels 0 to 255.
_RESCALINGS: dict[str, tuple[float, float]] = {
    "centre": (1 / 64, -2.0),  # -2 to 2: about zero mean and unit variance on FER2013, in round numbers
    "unit": (1 / 255, 0.0),
    "dataset": (1 / (255 * FER2013_DEVIATION), -FER2013_MEAN / FER2013_DEVIATION),
    "image": (1 / 255, 0.0),
}

# Share of its statistics that batch normalisation keeps at each step: runs here have some thousand steps.
NORMALISATION_MOMENTUM = 0.9

# Of the first weights of a calm head, as in MobileNetV2's own code.
_CALM_DEVIATION = 0.01

# Keeps an image of one grey level from dividing by nothing; below one grey level's square.
_FLAT_IMAGE_VARIANCE = 1e-5


def channel_axis() -> int:
    """Where the channels of a batch of feature maps are."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def image_input(config: ModelConfig, form: Form, *, open_side: bool = True) -> tuple[Any, Any]:
    """The input and its normalised pixels.

    Args:
        config: `normalisation` says how.
        form: SERVED fixes the side at 48 and puts the channel first.
        open_side: The TRAINED form takes images of any side; False for networks whose head fixes it.

    Returns:
        `image` uint8 (N, H, W, 1) and float32 feature maps of one channel.
    """
    served = form is Form.SERVED
    side = None if open_side and not served else CROP_SIZE_PX
    image = keras.Input((side, side, 1), dtype="uint8", name="image")
    factor, offset = _RESCALINGS[str(config.normalisation)]
    features = layers.Rescaling(factor, offset=offset, dtype="float32", name="rescale")(image)
    if config.normalisation == "image":
        mean = keras.ops.mean(features, axis=(1, 2, 3), keepdims=True)
        variance = keras.ops.var(features, axis=(1, 2, 3), keepdims=True)
        features = (features - mean) / keras.ops.sqrt(variance + _FLAT_IMAGE_VARIANCE)
    if served:
        # One channel: moving the axis is a reshape, no transpose.
        features = layers.Reshape((1, CROP_SIZE_PX, CROP_SIZE_PX), name="channels_first")(features)
    return image, features


def normalise(features: Any, name: str) -> Any:
    """Batch normalisation with the constants of this project's networks."""
    return FastBatchNormalization(axis=channel_axis(), momentum=NORMALISATION_MOMENTUM, epsilon=1e-5, name=name)(
        features
    )


def convolve(
    features: Any, width: int, kernel: int, name: str, *, strides: int = 1, normalised: bool = True, relu: bool = True
) -> Any:
    """Convolution that keeps the side (over `strides`), then batch normalisation and ReLU where wanted.

    Args:
        features: Feature maps.
        width: Channels out.
        kernel: Side of the kernel.
        name: Of the convolution; its normalisation is `<name>_bn`.
        strides: As in Keras.
        normalised: With batch normalisation, and then without a bias.
        relu: With ReLU.
    """
    if strides > 1 and kernel > 1:
        # As PyTorch pads: the same at both ends whatever the side, so that ONNX has a number and no arithmetic.
        features = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(features)
    features = layers.Conv2D(
        width,
        kernel,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=not normalised,
        kernel_initializer="he_normal",
        name=name,
    )(features)
    if normalised:
        features = normalise(features, f"{name}_bn")
    return layers.ReLU(name=f"{name}_relu")(features) if relu else features


def drop(features: Any, rate: float | None, name: str) -> Any:
    """Dropout, or no layer where the rate is 0."""
    return FastDropout(rate, name=name)(features) if rate else features


def concatenate(branches: list[Any], name: str) -> Any:
    """Feature maps side by side in their channels."""
    return layers.Concatenate(axis=channel_axis(), name=name)(branches)


def residual(features: Any, width: int, name: str, strides: int = 1) -> Any:
    """Two 3x3 convolutions with a skip around them, which is a 1x1 convolution where the shape changes.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2015 (the basic block).
    """
    skip = features
    if strides != 1 or features.shape[channel_axis()] != width:
        skip = convolve(features, width, 1, f"{name}_skip", strides=strides, relu=False)
    inner = convolve(features, width, 3, f"{name}_conv1", strides=strides)
    inner = convolve(inner, width, 3, f"{name}_conv2", relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([inner, skip]))


def inception(features: Any, width: int, name: str) -> Any:
    """1x1, 3x3, 5x5 and pooled paths side by side; their channels in the proportions of GoogLeNet's module 3a.

    Args:
        features: Feature maps.
        width: Channels out in all; a multiple of 8.
        name: Prefix of the layers.

    Reference:
        Szegedy et al., "Going Deeper with Convolutions", 2014.
    """
    eighth = width // 8
    return concatenate(
        [
            convolve(features, 2 * eighth, 1, f"{name}_1x1"),
            convolve(convolve(features, 3 * eighth, 1, f"{name}_3x3_reduce"), 4 * eighth, 3, f"{name}_3x3"),
            convolve(convolve(features, max(1, eighth // 2), 1, f"{name}_5x5_reduce"), eighth, 5, f"{name}_5x5"),
            convolve(
                layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(features),
                eighth,
                1,
                f"{name}_pool_1x1",
            ),
        ],
        f"{name}_concatenate",
    )


def encode_decode(features: Any, widths: tuple[int, ...]) -> Any:
    """A U-Net: halved and halved again, then doubled back, each level joined with its twin on the way down.

    Args:
        features: Feature maps whose side is a multiple of 2 ** (levels - 1).
        widths: Channels of each level, the finest first.

    Returns:
        Feature maps of the first width and the full side.

    Reference:
        Ronneberger, Fischer and Brox, "U-Net", 2015.
    """
    twins = []
    for level, width in enumerate(widths, start=1):
        for index in (1, 2):
            features = convolve(features, width, 3, f"down{level}_conv{index}")
        if level < len(widths):
            twins.append(features)
            features = layers.MaxPooling2D(2, name=f"down{level}_pool")(features)
    for level in range(len(widths) - 1, 0, -1):
        features = layers.Conv2DTranspose(widths[level - 1], 2, strides=2, name=f"up{level}_double")(features)
        features = concatenate([features, twins.pop()], f"up{level}_concatenate")
        for index in (1, 2):
            features = convolve(features, widths[level - 1], 3, f"up{level}_conv{index}")
    return features


def dense_layer(features: Any, config: ModelConfig, *, normalised: bool = False) -> Any:
    """The hidden dense layer of a head, `dense_units` wide, with ReLU and the head's dropout.

    Args:
        features: One vector for each image.
        config: For the width and the dropout.
        normalised: With batch normalisation before the ReLU, and then without a bias.
    """
    features = layers.Dense(config.dense_units, use_bias=not normalised, kernel_initializer="he_normal", name="dense")(
        features
    )
    if normalised:
        features = normalise(features, "dense_bn")
    features = layers.ReLU(name="dense_relu")(features)
    return drop(features, config.head_dropout, "dense_dropout")


def classify(image: Any, features: Any, name: str, *, calm: bool = False) -> keras.Model:
    """Ends a network: seven logits in full precision, whatever the precision before.

    Args:
        image: The network's input.
        features: One vector for each image.
        name: Of the network.
        calm: Start with logits near zero. What a head says at random, a deep network would first have to unlearn.
    """
    initial = keras.initializers.RandomNormal(stddev=_CALM_DEVIATION) if calm else "glorot_uniform"
    logits = layers.Dense(len(LABELS), dtype="float32", kernel_initializer=initial, name=LOGITS)(features)
    return keras.Model(image, logits, name=name)
