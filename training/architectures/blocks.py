"""Parts that several networks share. Their layout, channels last or first, is the present setting of Keras."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.architectures import LOGITS, Form
from training.architectures.layers import FastBatchNormalization, FastDropout
from training.architectures.options import NetworkOptions

# Mean and standard deviation of all pixels of FER2013's Training split, divided by 255.
FER2013_MEAN, FER2013_DEVIATION = 0.5077, 0.2551

# (factor, offset) for raw grey levels 0 to 255.
_RESCALINGS: dict[str, tuple[float, float]] = {
    "centre": (1 / 64, -2.0),  # -2 to 2: approximately zero mean and unit variance on FER2013
    "unit": (1 / 255, 0.0),
    "dataset": (1 / (255 * FER2013_DEVIATION), -FER2013_MEAN / FER2013_DEVIATION),
    "image": (1 / 255, 0.0),
}

# Momentum of the statistics of batch normalisation, for runs of some thousand steps.
NORMALISATION_MOMENTUM = 0.9

# Standard deviation of a head's first weights, as in the code of MobileNetV2, if logits shall start near zero.
_SMALL_DEVIATION = 0.01

# Prevents a division by zero for an image of one grey level; smaller than the square of one grey level.
_FLAT_IMAGE_VARIANCE = 1e-5


def channel_axis() -> int:
    """Return the axis of the channels in a batch of feature maps."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def image_input(options: NetworkOptions, form: Form, *, open_side: bool = True) -> tuple[Any, Any]:
    """Build the input layer and the normalisation of pixels.

    Args:
        options: `normalisation` selects the method.
        form: SERVED has a fixed side of 48 and the channel first.
        open_side: The TRAINED form accepts images of any side. Set False for networks whose head needs a fixed side.

    Returns:
        `image` uint8 (N, H, W, 1), and feature maps of one channel, float32.
    """
    served = form is Form.SERVED
    side = None if open_side and not served else CROP_SIZE_PX
    image = keras.Input((side, side, 1), dtype="uint8", name="image")
    factor, offset = _RESCALINGS[str(options.normalisation)]
    features = layers.Rescaling(factor, offset=offset, dtype="float32", name="rescale")(image)
    if options.normalisation == "image":
        mean = keras.ops.mean(features, axis=(1, 2, 3), keepdims=True)
        variance = keras.ops.var(features, axis=(1, 2, 3), keepdims=True)
        features = (features - mean) / keras.ops.sqrt(variance + _FLAT_IMAGE_VARIANCE)
    if served:
        # With one channel, a reshape moves the axis without a transpose.
        features = layers.Reshape((1, CROP_SIZE_PX, CROP_SIZE_PX), name="channels_first")(features)
    return image, features


def normalise(features: Any, name: str) -> Any:
    """Add batch normalisation with the constants of this project."""
    return FastBatchNormalization(axis=channel_axis(), momentum=NORMALISATION_MOMENTUM, epsilon=1e-5, name=name)(
        features
    )


def convolve(
    features: Any, width: int, kernel: int, name: str, *, strides: int = 1, normalised: bool = True, relu: bool = True
) -> Any:
    """Add a convolution that keeps the side (divided by `strides`), then optional batch normalisation and ReLU.

    Args:
        features: Feature maps.
        width: Number of output channels.
        kernel: Side of the kernel.
        name: Name of the convolution; the name of its normalisation is `<name>_bn`.
        strides: As in Keras.
        normalised: Add batch normalisation; the convolution then has no bias.
        relu: Add ReLU.
    """
    if strides > 1 and kernel > 1:
        # Padding as in PyTorch, equal at both ends for each side: a constant in ONNX instead of a computation.
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


def drop(features: Any, rate: float, name: str) -> Any:
    """Add dropout, or no layer if the rate is 0."""
    return FastDropout(rate, name=name)(features) if rate else features


def concatenate(branches: list[Any], name: str) -> Any:
    """Concatenate feature maps along their channels."""
    return layers.Concatenate(axis=channel_axis(), name=name)(branches)


def residual(features: Any, width: int, name: str, strides: int = 1) -> Any:
    """Add two 3x3 convolutions with a skip connection, which is a 1x1 convolution if the shape changes.

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
    """Add an Inception module: parallel 1x1, 3x3, 5x5 and pooled paths, in the proportions of GoogLeNet's module 3a.

    Args:
        features: Feature maps.
        width: Total number of output channels; a multiple of 8.
        name: Prefix of the layer names.

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
    """Add a U-Net: an encoder that halves the side at each level, and a decoder with skip connections.

    Args:
        features: Feature maps whose side is a multiple of 2 ** (levels - 1).
        widths: Channels of each level, from the full side to the smallest.

    Returns:
        Feature maps with the first width and the full side.

    Reference:
        Ronneberger, Fischer and Brox, "U-Net", 2015.
    """
    skips = []
    for level, width in enumerate(widths, start=1):
        for index in (1, 2):
            features = convolve(features, width, 3, f"down{level}_conv{index}")
        if level < len(widths):
            skips.append(features)
            features = layers.MaxPooling2D(2, name=f"down{level}_pool")(features)
    for level in range(len(widths) - 1, 0, -1):
        features = layers.Conv2DTranspose(widths[level - 1], 2, strides=2, name=f"up{level}_double")(features)
        features = concatenate([features, skips.pop()], f"up{level}_concatenate")
        for index in (1, 2):
            features = convolve(features, widths[level - 1], 3, f"up{level}_conv{index}")
    return features


def dense_layer(features: Any, options: NetworkOptions, *, normalised: bool = False) -> Any:
    """Add the hidden dense layer of a head, with ReLU and dropout.

    Args:
        features: One vector for each image.
        options: `dense_units` is the width, `head_dropout` the rate.
        normalised: Add batch normalisation before the ReLU; the dense layer then has no bias.
    """
    features = layers.Dense(options.dense_units, use_bias=not normalised, kernel_initializer="he_normal", name="dense")(
        features
    )
    if normalised:
        features = normalise(features, "dense_bn")
    features = layers.ReLU(name="dense_relu")(features)
    return drop(features, options.head_dropout, "dense_dropout")


def classify(image: Any, features: Any, name: str, *, small_logits: bool = False) -> keras.Model:
    """Complete a network with seven logits, which are float32 in every precision.

    Args:
        image: Input of the network.
        features: One vector for each image.
        name: Name of the network.
        small_logits: Start with logits near zero. A deep network otherwise first has to unlearn random predictions.
    """
    initial = keras.initializers.RandomNormal(stddev=_SMALL_DEVIATION) if small_logits else "glorot_uniform"
    logits = layers.Dense(len(LABELS), dtype="float32", kernel_initializer=initial, name=LOGITS)(features)
    return keras.Model(image, logits, name=name)
