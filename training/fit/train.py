"""Trains one config: the loop, from fresh weights or a checkpoint to the best epoch on PublicTest.

An epoch depends only on the config, the dataset and the checkpoint before it, so a run that was interrupted ends with
the same weights as one that was not. PrivateTest is never read here.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from training import architectures, provenance
from training.architectures.heads import Head, build_with_heads
from training.config import TrainConfig
from training.data.annotator_votes import NO_MAJORITY, VotesFile
from training.data.augment import Mix, augment_batch
from training.data.balance import epoch_length, epoch_order, with_copies
from training.data.fer2013 import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.evaluation import plots
from training.evaluation.metrics import measure
from training.evaluation.text_report import classification_table
from training.fit import distillation
from training.fit.adversarial import FastGradientSign
from training.fit.backend import prepare_backend
from training.fit.losses import build_accuracy, build_loss, image_weights, targets_for
from training.fit.optimizers import build_optimizer, build_plateau
from training.fit.precision import choose_precision, detect_bfloat16
from training.fit.run_folder import RunFolder, RunState, write_json
from training.fit.weight_average import WeightAverage

_EVALUATION_BATCH = 256

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Targets:
    """What the heads should answer for Training: shares of the labels (N, 7) and image weights (N,), by head."""

    shares: Mapping[str, npt.NDArray[np.float32]]
    weights: Mapping[str, npt.NDArray[np.float32]]


def train(
    config: TrainConfig,
    dataset: Fer2013,
    run: RunFolder,
    votes: VotesFile | None = None,
    *,
    stop_after_epochs: int | None = None,
) -> RunState:
    """Trains to the end of the config, continuing what the run folder holds, then writes the report of the best epoch.

    Args:
        config: The recipe.
        dataset: Training is learned from, PublicTest chooses the epoch.
        run: Where everything is kept.
        votes: The crowd's, for a config with a crowd head; those for Training are learned from, those for PublicTest
            only counted.
        stop_after_epochs: Leave after that many epochs of this sitting (to train in pieces), without a report.

    Returns:
        The state after the last epoch.
    """
    training = with_copies(dataset[Split.TRAINING], config.balance, config.seed)
    validation = dataset[Split.PUBLIC_TEST]
    steps = epoch_length(training.labels, config.balance) // config.batch_size
    if steps == 0:
        raise TrainingError(
            f"batch_size is larger than Training: expected at most {len(training.labels)}."
            f" Received: {config.batch_size}"
        )
    if config.crowd is not None and votes is None:
        raise TrainingError("the config has a crowd head: name the file of the crowd's votes with --votes.")
    majority = None if config.crowd is None or votes is None else votes.of(validation.names).majority()
    borrowed = distillation.describe(config.borrowed_runs)
    run.open_for(config)
    precision, reason = choose_precision(config.precision, run.read_precision(), detect_bfloat16())
    print(f"Precision: {precision} ({reason})", flush=True)
    prepare_backend(precision, config.seed)
    resumed_epochs = run.epochs_done()
    # The optimiser of the last epoch done, because the checkpoint holds its moments.
    model = compile_model(config, steps, max(0, resumed_epochs - 1))
    if resumed_epochs == 0:
        _lend_weights(model, config)
    average = WeightAverage(model, config.ema_momentum) if config.ema_momentum is not None else None
    state = run.load_checkpoint(model, average)
    plateau = _resume_plateau(config, model, state)
    attacker = _attacker(model, config)
    last = config.epochs if stop_after_epochs is None else min(config.epochs, state.epochs_done + stop_after_epochs)
    if state.epochs_done < last and not _stops_early(config, state):  # a run that is done stays as it was made
        run.write_provenance(
            {
                **provenance.describe_environment(),
                "precision": precision,
                "dataset": provenance.describe_dataset(dataset, votes),
                "borrowed_weights": borrowed,
                "config": config.model_dump(mode="json"),
                "parameters": model.count_params(),
            }
        )
        # After the model: teachers, which take minutes, must not take random numbers from it.
        targets = _targets(config, training, votes, run)
    while state.epochs_done < last and not _stops_early(config, state):
        epoch = state.epochs_done
        started = time.perf_counter()
        if config.finish is not None and epoch == config.finish.from_epoch:
            compile_for_epoch(model, config, steps, epoch)
            plateau = _resume_plateau(config, model, state)
        print(f"Epoch {epoch + 1}/{config.epochs} at {config.size_px(epoch)} px", flush=True)
        logs = _train_epoch(model, average, attacker, training, targets, config, epoch, steps)
        with average.applied() if average is not None else nullcontext():
            logs |= _validate(model, validation, majority, config)
            # The first epoch is the best so far even with no image right: a run always keeps some weights.
            if state.best_epoch < 0 or logs["val_accuracy"] > state.best_val_accuracy:
                state.best_epoch, state.best_val_accuracy = epoch, logs["val_accuracy"]
                _save_weights(model, run)
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        if plateau is not None:
            plateau.on_epoch_end(epoch, dict(logs))
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
        plots.plot_curves(state.history, run.path / "curves.png")
    if state.epochs_done == config.epochs or _stops_early(config, state):
        _report_best(config, validation, run, state)
    return state


def _stops_early(config: TrainConfig, state: RunState) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and state.epochs_done - 1 - state.best_epoch >= patience


def compile_model(config: TrainConfig, steps_per_epoch: int, epoch: int = 0) -> keras.Model:
    """A fresh model with the optimiser of an epoch built, so that a checkpoint can be put into it."""
    model = build_with_heads(config)
    compile_for_epoch(model, config, steps_per_epoch, epoch)
    return model


def compile_for_epoch(model: keras.Model, config: TrainConfig, steps_per_epoch: int, epoch: int) -> None:
    """Gives a model its losses and a fresh optimiser: that of an epoch (0-based)."""
    optimizer_config, _, epochs = config.optimizer_of(epoch)
    optimizer = build_optimizer(optimizer_config, epochs, steps_per_epoch)
    optimizer.build(model.trainable_variables)
    losses = {Head.ORIGINAL.value: build_loss(config.loss)}
    loss_weights = {Head.ORIGINAL.value: 1.0}
    if config.crowd is not None:
        # The votes are shares already: what they say of doubt is not smoothed further.
        losses[Head.CROWD.value] = keras.losses.CategoricalCrossentropy(from_logits=True)
        loss_weights[Head.CROWD.value] = config.crowd.loss_weight
    metrics = {Head.ORIGINAL.value: [build_accuracy(config.loss)]}
    model.compile(optimizer=optimizer, loss=losses, loss_weights=loss_weights, metrics=metrics)


def _resume_plateau(
    config: TrainConfig, model: keras.Model, state: RunState
) -> keras.callbacks.ReduceLROnPlateau | None:
    """The plateau of the next epoch's optimiser, having seen the epochs that it would have seen without a stop."""
    optimizer_config, first_epoch, _ = config.optimizer_of(state.epochs_done)
    plateau = build_plateau(optimizer_config, model)
    if plateau is not None:
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        for epoch, logs in enumerate(state.history[first_epoch:], start=first_epoch):
            plateau.on_epoch_end(epoch, dict(logs))
        model.optimizer.learning_rate = rate  # which the checkpoint knew already
    return plateau


def _lend_weights(model: keras.Model, config: TrainConfig) -> None:
    """What a fresh model does not have to learn again."""
    architectures.load_pretrained(model, config.model)
    if config.start is not None:
        distillation.start_from(model, config.start, config.seed)


def _attacker(model: keras.Model, config: TrainConfig) -> FastGradientSign | None:
    if config.adversarial is None:
        return None
    return FastGradientSign(model, model.output[Head.ORIGINAL.value], build_loss(config.loss), config.adversarial)


def _targets(config: TrainConfig, training: SplitData, votes: VotesFile | None, run: RunFolder) -> _Targets:
    shares = {Head.ORIGINAL.value: targets_for(config.loss, training.labels)}
    weights = {Head.ORIGINAL.value: image_weights(config.loss, training.labels)}
    if config.teachers is not None:
        original = Head.ORIGINAL.value
        shares[original] = distillation.teach(
            shares[original], training.images, config.teachers.runs, config.teachers.share, run.teachers_answers
        )
    if config.crowd is not None and votes is not None:
        shares[Head.CROWD.value], weights[Head.CROWD.value] = votes.of(training.names).targets()
    return _Targets(shares, weights)


def _train_epoch(
    model: keras.Model,
    average: WeightAverage | None,
    attacker: FastGradientSign | None,
    training: SplitData,
    targets: _Targets,
    config: TrainConfig,
    epoch: int,
    steps: int,
) -> dict[str, float]:
    epoch_generator = np.random.default_rng([config.seed, epoch])
    order = epoch_order(training.labels, config.balance, epoch_generator)
    # Dropout draws from the backend's global generator: seeding it anew in every epoch makes a resumed run exact.
    keras.utils.set_random_seed(int(epoch_generator.integers(2**31)))
    bar = keras.utils.Progbar(steps, verbose=1 if sys.stdout.isatty() else 2)
    totals: Counter[str] = Counter()
    for step in range(steps):
        chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
        generator = np.random.default_rng([config.seed, epoch, step])
        images = augment_batch(training.images[chosen], config.augment, generator, config.size_px(epoch))
        shares = {head: values[chosen] for head, values in targets.shares.items()}
        weights = {head: values[chosen] for head, values in targets.weights.items()}
        if config.augment.mixup_alpha:
            mix = Mix.draw(len(chosen), config.augment.mixup_alpha, generator)
            images = mix.blend(images)
            shares = {head: mix.blend(values) for head, values in shares.items()}
            weights = {head: mix.blend(values) for head, values in weights.items()}
        if attacker is not None:
            images = attacker.attack(images, shares[Head.ORIGINAL.value])
        logs = model.train_on_batch(images, shares, sample_weight=weights, return_dict=True)
        if not np.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}, step {step + 1}: lower the learning rate."
            )
        if average is not None:
            average.update(epoch * steps + step)
        totals.update(_logs_of_original(logs))
        bar.update(step + 1, [(name, total / (step + 1)) for name, total in totals.items()])
    return {name: total / steps for name, total in totals.items()}


def _logs_of_original(logs: Mapping[str, float]) -> dict[str, float]:
    """Loss and accuracy of the original labels' head, which Keras prefixes where there are several heads."""
    return {name: float(logs.get(f"{Head.ORIGINAL}_{name}", logs.get(name, np.nan))) for name in ("loss", "accuracy")}


def _validate(
    model: keras.Model, validation: SplitData, majority: npt.NDArray[np.int64] | None, config: TrainConfig
) -> dict[str, float]:
    logits = _predict(model, validation)
    original = logits[Head.ORIGINAL.value]
    logs = {
        "val_loss": float(build_loss(config.loss)(targets_for(config.loss, validation.labels), original)),
        "val_accuracy": float((original.argmax(axis=1) == validation.labels).mean()),
    }
    if majority is not None:
        clear = majority != NO_MAJORITY
        correct = logits[Head.CROWD.value].argmax(axis=1)[clear] == majority[clear]
        logs["val_crowd_accuracy"] = float(correct.mean())
    return logs


def _predict(model: keras.Model, split: SplitData) -> dict[str, Logits]:
    logits: dict[str, Logits] = model.predict(split.images, batch_size=_EVALUATION_BATCH, verbose=0)
    return logits


def _save_weights(model: keras.Model, run: RunFolder) -> None:
    unfinished = run.path / "unfinished.weights.h5"
    model.save_weights(unfinished)
    unfinished.replace(run.best_weights)


def _report_best(config: TrainConfig, validation: SplitData, run: RunFolder, state: RunState) -> None:
    # A model without an optimiser: the file holds that of the best epoch, which may be another than the last one's.
    best = build_with_heads(config)
    best.load_weights(run.best_weights)
    measured = measure(_predict(best, validation)[Head.ORIGINAL.value], validation.labels, temperature=1.0)
    write_json(
        run.report,
        {
            "best_epoch": state.best_epoch + 1,
            "wall_s": state.wall_s,
            Split.PUBLIC_TEST: measured.model_dump(mode="json"),
        },
    )
    plots.plot_confusion(
        measured.confusion, f"PublicTest, epoch {state.best_epoch + 1}", run.path / "confusion_matrix.png"
    )
    print(classification_table(measured))
