"""The heads of a network in training: one for the original labels and, optionally, one for the annotator votes.

Both heads train the same body, so each set of labels regularises the other. Either head can be exported alone.

Reference:
    Caruana, "Multitask Learning", 1997.
"""

from __future__ import annotations

from enum import StrEnum

import keras
from keras import layers

from app.contract.labels import LABELS
from training import architectures
from training.architectures import LOGITS
from training.config import TrainConfig
from training.errors import TrainingError


class Head(StrEnum):
    """The labels that a head predicts; the value is the name of its layer."""

    ORIGINAL = LOGITS
    # Keras orders the heads by name, and weight files depend on that order: this one must come before `logits`.
    ANNOTATORS = "annotator_logits"


def build_with_heads(config: TrainConfig) -> keras.Model:
    """Build the TRAINED form of a config's network with all its heads.

    Returns:
        A model from `image` to a dict of logits, float32 (N, 7), by head.
    """
    model = architectures.build(config.model)
    original = model.get_layer(Head.ORIGINAL)
    outputs = {Head.ORIGINAL.value: original.output}
    if config.annotator_votes is not None:
        annotators = layers.Dense(len(LABELS), dtype="float32", name=Head.ANNOTATORS.value)
        outputs[Head.ANNOTATORS.value] = annotators(original.input)
    return keras.Model(model.input, outputs, name=model.name)


def single_head(model: keras.Model, head: Head) -> keras.Model:
    """Return the same network with the logits of one head as its only output; the weights are shared.

    Raises:
        TrainingError: The network has no such head.
    """
    if head.value not in model.output:
        present = ", ".join(Head(name).name.lower() for name in model.output)
        raise TrainingError(
            f"the run was trained without the head {head.name.lower()}: choose one of its heads. It has: {present}"
        )
    return keras.Model(model.input, model.output[head.value], name=model.name)
