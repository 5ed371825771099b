"""The network of the face verifier: strided convolutions, then one logit."""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import LOGITS, Form
from training.architectures.blocks import convolve, image_input
from training.architectures.options import NetworkOptions

_REMAINING_SIDE = 3  # of the feature maps before the last convolution, at 48 px and four convolutions of stride 2


def build(widths: tuple[int, ...], form: Form = Form.TRAINED) -> keras.Model:
    """Build the network: from `image` uint8 (N, 48, 48, 1) to one logit, float32 (N, 1).

    Every crop is normalised to its own mean and deviation, so that light changes no answer. Each convolution of stride
    2 halves the side; the last convolution covers all that remains and gives the logit.

    Args:
        widths: Channels of the four convolutions.
        form: SERVED is channels first; both forms have the same weights.
    """
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if form is Form.SERVED else "channels_last")
    try:
        image, features = image_input(NetworkOptions("face_verifier", normalisation="image"), form, open_side=False)
        for index, width in enumerate(widths, start=1):
            features = convolve(features, width, 3, f"conv{index}", strides=2)
        features = layers.Conv2D(1, _REMAINING_SIDE, padding="valid", dtype="float32", name="logit_map")(features)
        return keras.Model(image, layers.Flatten(name=LOGITS, dtype="float32")(features), name="face_verifier")
    finally:
        keras.config.set_image_data_format(before)


def served_form(trained: keras.Model, widths: tuple[int, ...]) -> keras.Model:
    """Return the SERVED form with the weights of a trained network."""
    served = build(widths, Form.SERVED)
    served.set_weights(trained.get_weights())
    return served
