"""Warm start: the first weights of a run are the weights of a finished run."""

from __future__ import annotations

from pathlib import Path

import keras

from training.architectures.heads import Head, single_head
from training.fit.parent_runs import load_trained
from training.fit.widen import widen


def warm_start_from(model: keras.Model, path: Path, seed: int) -> None:
    """Set the weights of a fresh model to the weights of a finished run, including normalisation statistics.

    The state of the optimiser in the file is ignored. A wider model of the same layers starts with the same logits (see
    `training.fit.widen`). An annotators' head stays fresh if the finished run has none.

    Args:
        model: A fresh TRAINED network with its heads.
        path: Folder of the finished run.
        seed: Seed of the choice of copied channels, for a wider model.

    Raises:
        TrainingError: The run is not finished, or its network does not fit.
    """
    parent = load_trained(path)
    if Head.ANNOTATORS in model.output and Head.ANNOTATORS not in parent.output:
        model = single_head(model, Head.ORIGINAL)  # has the same layers, and so sets the weights of the whole model
    if [weight.shape for weight in parent.weights] == [weight.shape for weight in model.weights]:
        model.set_weights(parent.get_weights())
    else:
        widen(parent, model, seed)
