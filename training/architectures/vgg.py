"""The VGG-style network that the service ships: pairs of 3x3 convolutions between max-pools, one small head.

Reference:
    Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014 (the blocks).
    Pramerdorfer and Kampel, "Facial Expression Recognition using CNNs: State of the Art", 2016 (a VGG for FER2013).
    Ioffe and Szegedy, "Batch Normalization", 2015.
"""

from __future__ import annotations

import keras
from keras import layers

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.architectures import Form
from training.config import ModelConfig
from training.layers import FastBatchNormalization


def build(config: ModelConfig, form: Form) -> keras.Model:
    """Builds the network.

    Args:
        config: `widths` are the channels of each stage; each stage halves the side.
        form: TRAINED leaves the side open, so that a config may train at other sizes than 48.

    Returns:
        A model from `image` uint8 (N, H, W, 1) to `logits` float32 (N, 7).
    """
    served = form is Form.SERVED
    data_format = "channels_first" if served else "channels_last"
    side = CROP_SIZE_PX if served else None
    image = keras.Input((side, side, 1), dtype="uint8", name="image")
    # Grey levels 0 to 255 become -2 to 2: about zero mean and unit variance on FER2013 (mean 0.507, deviation 0.255).
    features = layers.Rescaling(1 / 64, offset=-2, dtype="float32", name="rescale")(image)
    if served:
        # One channel: moving the axis is a reshape, no transpose.
        features = layers.Reshape((1, CROP_SIZE_PX, CROP_SIZE_PX), name="channels_first")(features)
    for stage, width in enumerate(config.widths, start=1):
        for index in range(1, config.convolutions_per_stage + 1):
            name = f"block{stage}_conv{index}"
            features = layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=served,
                kernel_initializer="he_normal",
                data_format=data_format,
                name=name,
            )(features)
            if not served:
                features = FastBatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(features)
            features = layers.ReLU(name=f"{name}_relu")(features)
        features = layers.MaxPooling2D(2, data_format=data_format, name=f"block{stage}_pool")(features)
        if config.stage_dropout:
            features = layers.Dropout(config.stage_dropout, name=f"block{stage}_dropout")(features)
    features = layers.GlobalAveragePooling2D(data_format=data_format, name="pool")(features)
    if config.head_dropout:
        features = layers.Dropout(config.head_dropout, name="head_dropout")(features)
    logits = layers.Dense(len(LABELS), dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="vgg")
