"""Trains one config: the loop, from fresh weights or a checkpoint to the best epoch on PublicTest.

An epoch depends only on the config, the dataset and the checkpoint before it, so a run that was interrupted ends with
the same weights as one that was not. PrivateTest is never read here.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from training import architectures, provenance, report
from training.augment import augment_batch
from training.average import WeightAverage
from training.config import OptimizerConfig, TrainConfig
from training.data import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.metrics import measure
from training.run import RunFolder, RunState, write_json

_EVALUATION_BATCH = 256


def train(config: TrainConfig, dataset: Fer2013, run: RunFolder, *, stop_after_epochs: int | None = None) -> RunState:
    """Trains to the end of the config, continuing what the run folder holds, then writes the report of the best epoch.

    Args:
        config: The recipe.
        dataset: Training is learned from, PublicTest chooses the epoch.
        run: Where everything is kept.
        stop_after_epochs: Leave after that many epochs of this sitting (to train in pieces), without a report.

    Returns:
        The state after the last epoch.
    """
    training, validation = dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST]
    steps = len(training.labels) // config.batch_size
    if steps == 0:
        raise TrainingError(
            f"batch_size is larger than Training: expected at most {len(training.labels)}."
            f" Received: {config.batch_size}"
        )
    run.open_for(config)
    prepare_backend(config)
    model = compile_model(config, steps)
    average = WeightAverage(model, config.ema_momentum) if config.ema_momentum is not None else None
    state = run.load_checkpoint(model, average)
    run.write_provenance(
        {
            **provenance.describe_environment(),
            "dataset": provenance.describe_dataset(dataset),
            "config": config.model_dump(mode="json"),
            "parameters": model.count_params(),
        }
    )
    last = config.epochs if stop_after_epochs is None else min(config.epochs, state.epochs_done + stop_after_epochs)
    while state.epochs_done < last and not _stops_early(config, state):
        epoch = state.epochs_done
        started = time.perf_counter()
        print(f"Epoch {epoch + 1}/{config.epochs} at {config.size_px(epoch)} px", flush=True)
        logs = _train_epoch(model, average, training, config, epoch, steps)
        with average.applied() if average is not None else nullcontext():
            logs |= _validate(model, validation)
            # The first epoch is the best so far even with no image right: a run always keeps some weights.
            if state.best_epoch < 0 or logs["val_accuracy"] > state.best_val_accuracy:
                state.best_epoch, state.best_val_accuracy = epoch, logs["val_accuracy"]
                _save_weights(model, run)
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        logs["seconds"] = time.perf_counter() - started
        state.epochs_done = epoch + 1
        state.history.append(logs)
        state.wall_s += logs["seconds"]
        run.save_checkpoint(model, average, state)
        print(
            f"  PublicTest loss {logs['val_loss']:.4f}, accuracy {logs['val_accuracy']:.4f}"
            f" (best {state.best_val_accuracy:.4f} in epoch {state.best_epoch + 1}); {logs['seconds']:.0f} s",
            flush=True,
        )
        report.plot_curves(state.history, run.path / "curves.png")
    if state.epochs_done == config.epochs or _stops_early(config, state):
        _report_best(model, validation, run, state)
    return state


def _stops_early(config: TrainConfig, state: RunState) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and state.epochs_done - 1 - state.best_epoch >= patience


def prepare_backend(config: TrainConfig) -> None:
    """Sets precision and seeds, and turns denormal floats off: they slow a CPU's backward pass several times over."""
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    if keras.config.backend() == "torch":
        import torch

        torch.set_flush_denormal(True)


def compile_model(config: TrainConfig, steps_per_epoch: int) -> keras.Model:
    """A fresh model with its optimiser built, so that a checkpoint can be put into it."""
    model = architectures.build(config.model)
    optimizer = build_optimizer(config.optimizer, config.epochs, steps_per_epoch)
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.loss.label_smoothing),
        metrics=["accuracy"],
    )
    return model


def build_optimizer(config: OptimizerConfig, epochs: int, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimiser with its schedule over the whole run; biases and normalisations do not decay."""
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    learning_rate: Any = config.learning_rate
    if config.schedule == "cosine":
        learning_rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_steps else config.learning_rate,
            decay_steps=max(1, epochs * steps_per_epoch - warmup_steps),
            warmup_target=config.learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    shared: dict[str, Any] = {
        "learning_rate": learning_rate,
        "weight_decay": config.weight_decay or None,
    }
    optimizer = (
        keras.optimizers.AdamW(**(shared | {"weight_decay": config.weight_decay}))
        if config.name == "adamw"
        else keras.optimizers.SGD(momentum=config.momentum, nesterov=True, **shared)
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _train_epoch(
    model: keras.Model,
    average: WeightAverage | None,
    training: SplitData,
    config: TrainConfig,
    epoch: int,
    steps: int,
) -> dict[str, float]:
    one_hot = np.eye(len(LABELS), dtype=np.float32)
    epoch_generator = np.random.default_rng([config.seed, epoch])
    order = epoch_generator.permutation(len(training.labels))
    # Dropout draws from the backend's global generator: seeding it anew in every epoch makes a resumed run exact.
    keras.utils.set_random_seed(int(epoch_generator.integers(2**31)))
    bar = keras.utils.Progbar(steps, verbose=1 if sys.stdout.isatty() else 2)
    totals: Counter[str] = Counter()
    for step in range(steps):
        chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
        generator = np.random.default_rng([config.seed, epoch, step])
        images = augment_batch(training.images[chosen], config.augment, generator, config.size_px(epoch))
        logs = model.train_on_batch(images, one_hot[training.labels[chosen]], return_dict=True)
        if not np.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}, step {step + 1}: lower the learning rate."
            )
        if average is not None:
            average.update(epoch * steps + step)
        totals.update({name: float(value) for name, value in logs.items()})
        bar.update(step + 1, [(name, total / (step + 1)) for name, total in totals.items()])
    return {name: total / steps for name, total in totals.items()}


def _validate(model: keras.Model, validation: SplitData) -> dict[str, float]:
    one_hot = np.eye(len(LABELS), dtype=np.float32)[validation.labels]
    logs = model.evaluate(validation.images, one_hot, batch_size=_EVALUATION_BATCH, verbose=0, return_dict=True)
    return {f"val_{name}": float(value) for name, value in logs.items()}


def _save_weights(model: keras.Model, run: RunFolder) -> None:
    unfinished = run.path / "unfinished.weights.h5"
    model.save_weights(unfinished)
    unfinished.replace(run.best_weights)


def _report_best(model: keras.Model, validation: SplitData, run: RunFolder, state: RunState) -> None:
    model.load_weights(run.best_weights)
    logits: npt.NDArray[np.float32] = model.predict(validation.images, batch_size=_EVALUATION_BATCH, verbose=0)
    measured = measure(logits, validation.labels, temperature=1.0)
    write_json(
        run.report,
        {
            "best_epoch": state.best_epoch + 1,
            "wall_s": state.wall_s,
            Split.PUBLIC_TEST: measured.model_dump(mode="json"),
        },
    )
    report.plot_confusion(
        measured.confusion, f"PublicTest, epoch {state.best_epoch + 1}", run.path / "confusion_matrix.png"
    )
    print(report.classification_table(measured))
