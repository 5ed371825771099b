"""The heads of a trained network: the original labels and, where a config asks for it, the crowd's votes beside them.

One body learns from both, so each set of labels steadies the other; either head can be exported as a network of its
own.

Reference:
    Caruana, "Multitask Learning", 1997.
"""

from __future__ import annotations

from enum import StrEnum

import keras
from keras import layers

from app.contract.labels import LABELS
from training import architectures
from training.config import TrainConfig
from training.errors import TrainingError


class Head(StrEnum):
    """Which labels a head answers in; the value is its layer's name."""

    ORIGINAL = "logits"
    CROWD = "crowd_logits"


def build_with_heads(config: TrainConfig) -> keras.Model:
    """The TRAINED form of a config's network, with all its heads.

    Returns:
        A model from `image` to a dict of logits (N, 7) by head.
    """
    model = architectures.build(config.model)
    original = model.get_layer(Head.ORIGINAL)
    outputs = {Head.ORIGINAL.value: original.output}
    if config.crowd is not None:
        crowd = layers.Dense(len(LABELS), dtype="float32", name=Head.CROWD.value)
        outputs[Head.CROWD.value] = crowd(original.input)
    return keras.Model(model.input, outputs, name=model.name)


def single_head(model: keras.Model, head: Head) -> keras.Model:
    """The same network with one head's logits as its only output.

    Raises:
        TrainingError: It was trained without that head.
    """
    if head.value not in model.output:
        present = ", ".join(Head(name).name.lower() for name in model.output)
        raise TrainingError(f"the run was trained without the head {head.name.lower()}; it has: {present}")
    return keras.Model(model.input, model.output[head.value], name=model.name)
