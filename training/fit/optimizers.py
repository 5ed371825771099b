"""Optimisers and learning-rate schedules of Keras, as the config selects them, with a warm-up for each schedule."""

from __future__ import annotations

from typing import Any

import keras

from training.config import OptimizerConfig

# First rate of a one-cycle schedule as a share of its peak (Smith and Topin, 2017; the value is that of fastai).
_ONE_CYCLE_START = 1 / 25


@keras.saving.register_keras_serializable(package="fer_serve")
class WarmUpAndHold(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras is untyped
    """A linear warm-up from 0, a hold at the first rate of another schedule, then that schedule.

    Args:
        schedule: The schedule after the hold; its steps count from the end of the hold.
        warmup_steps: Steps of the warm-up.
        hold_steps: Steps of the hold.
    """

    def __init__(
        self, schedule: keras.optimizers.schedules.LearningRateSchedule, warmup_steps: int, hold_steps: int
    ) -> None:
        self._schedule, self._warmup_steps, self._hold_steps = schedule, warmup_steps, hold_steps

    def __call__(self, step: Any) -> Any:
        """Return the rate at a step (0-based)."""
        step = keras.ops.cast(step, "float32")
        rate = self._schedule(keras.ops.maximum(step - self._warmup_steps - self._hold_steps, 0.0))
        return rate * keras.ops.minimum(step / self._warmup_steps, 1.0) if self._warmup_steps else rate

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for serialisation by Keras."""
        return {"schedule": self._schedule, "warmup_steps": self._warmup_steps, "hold_steps": self._hold_steps}


def build_optimizer(config: OptimizerConfig, epochs: int, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return the optimiser with its schedule over a number of epochs. Biases and normalisations have no decay."""
    shared: dict[str, Any] = {
        "learning_rate": _learning_rate(config, epochs, steps_per_epoch),
        "weight_decay": config.weight_decay or None,
    }
    match config.name:
        case "adamw":
            optimizer = keras.optimizers.AdamW(**(shared | {"weight_decay": config.weight_decay}))
        case "adam":
            optimizer = keras.optimizers.Adam(**shared)
        case "sgd":
            optimizer = keras.optimizers.SGD(momentum=config.momentum, nesterov=config.nesterov, **shared)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def build_plateau(config: OptimizerConfig, model: keras.Model) -> keras.callbacks.ReduceLROnPlateau | None:
    """Return the callback that lowers the rate when the loss on PublicTest stops falling; None without a plateau."""
    if config.schedule != "plateau":
        return None
    plateau = keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss", mode="min", factor=config.decay_factor, patience=config.patience_epochs, min_delta=1e-4
    )
    plateau.set_model(model)
    plateau.on_train_begin()
    return plateau


def _learning_rate(config: OptimizerConfig, epochs: int, steps_per_epoch: int) -> Any:
    """Return a number for a constant rate or a plateau, else a schedule by step."""
    schedules = keras.optimizers.schedules
    total_steps = epochs * steps_per_epoch
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    match config.schedule:
        case "cosine" | "one_cycle":
            # One cycle rises linearly from 1/25 of the peak over `warmup_epochs`, then falls to 0 along a cosine.
            start = config.learning_rate * _ONE_CYCLE_START if config.schedule == "one_cycle" else 0.0
            return schedules.CosineDecay(
                initial_learning_rate=start if warmup_steps else config.learning_rate,
                decay_steps=max(1, total_steps - warmup_steps),
                warmup_target=config.learning_rate if warmup_steps else None,
                warmup_steps=warmup_steps,
            )
        case "exponential" | "step":
            decay = schedules.ExponentialDecay(
                config.learning_rate,
                decay_steps=max(1, round(config.decay_epochs * steps_per_epoch)),
                decay_rate=config.decay_factor,
                staircase=config.schedule == "step",
            )
            return WarmUpAndHold(decay, warmup_steps, round(config.hold_epochs * steps_per_epoch))
        case "constant" if warmup_steps:
            return WarmUpAndHold(
                schedules.PolynomialDecay(config.learning_rate, 1, config.learning_rate), warmup_steps, 0
            )
        case _:
            return config.learning_rate
