"""Compile a network for an epoch: losses of its heads, optimiser, and the plateau schedule."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from training.architectures.heads import Head, build_with_heads
from training.config import TrainConfig
from training.errors import TrainingError
from training.fit.losses import build_accuracy, build_loss
from training.fit.optimizers import build_optimizer, build_plateau
from training.fit.run_folder import RunState


def compile_model(
    config: TrainConfig, steps_per_epoch: int, epoch: int = 0, label_shares: npt.NDArray[np.float64] | None = None
) -> keras.Model:
    """Return a fresh model, compiled for an epoch (0-based); its optimiser is built, so that a checkpoint fits."""
    model = build_with_heads(config)
    freeze(model, config.frozen_layers)
    compile_for_epoch(model, config, steps_per_epoch, epoch, label_shares)
    return model


def freeze(model: keras.Model, prefixes: Sequence[str]) -> None:
    """Exclude layers from training, with the statistics of their batch normalisation.

    Args:
        model: A fresh TRAINED network.
        prefixes: Beginnings of the names of the layers.

    Raises:
        TrainingError: No layer with weights has such a name.
    """
    with_weights = [layer for layer in model.layers if layer.weights]
    for prefix in prefixes:
        chosen = [layer for layer in with_weights if layer.name.startswith(prefix)]
        if not chosen:
            raise TrainingError(
                f"frozen_layers: expected beginnings of {', '.join(layer.name for layer in with_weights)}."
                f" Received: {prefix}"
            )
        for layer in chosen:
            layer.trainable = False
    if not model.trainable_variables:
        raise TrainingError(f"frozen_layers: expected at least one layer to train. Received: {', '.join(prefixes)}")


def compile_for_epoch(
    model: keras.Model,
    config: TrainConfig,
    steps_per_epoch: int,
    epoch: int,
    label_shares: npt.NDArray[np.float64] | None,
) -> None:
    """Compile a model with its losses and a fresh optimiser: the optimiser of an epoch (0-based)."""
    optimizer_config, _, epochs = config.optimizer_of(epoch)
    optimizer = build_optimizer(optimizer_config, epochs, steps_per_epoch)
    optimizer.build(model.trainable_variables)
    losses = {Head.ORIGINAL.value: build_loss(config.loss, label_shares)}
    loss_weights = {Head.ORIGINAL.value: 1.0}
    if config.annotator_votes is not None:
        # Without label smoothing: the votes are soft labels already.
        losses[Head.ANNOTATORS.value] = keras.losses.CategoricalCrossentropy(from_logits=True)
        loss_weights[Head.ANNOTATORS.value] = config.annotator_votes.loss_weight
    metrics = {Head.ORIGINAL.value: [build_accuracy(config.loss)]}
    model.compile(optimizer=optimizer, loss=losses, loss_weights=loss_weights, metrics=metrics)


def resume_plateau(
    config: TrainConfig, model: keras.Model, state: RunState
) -> keras.callbacks.ReduceLROnPlateau | None:
    """Return the plateau schedule of the next epoch's optimiser, in the state of a run without interruption."""
    optimizer_config, first_epoch, _ = config.optimizer_of(state.epochs_done)
    plateau = build_plateau(optimizer_config, model)
    if plateau is not None:
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        for epoch, logs in enumerate(state.history[first_epoch:], start=first_epoch):
            plateau.on_epoch_end(epoch, dict(logs))
        model.optimizer.learning_rate = rate  # the checkpoint has the lowered rate already
    return plateau
