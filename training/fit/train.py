"""Train one config: the loop from fresh weights or a checkpoint to the best epoch or the mean of the last epochs.

An epoch depends only on the config, the dataset and the checkpoint before it, so an interrupted run ends with the same
weights as an uninterrupted one. PrivateTest is never read here.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training import architectures, provenance
from training.architectures.heads import Head
from training.config import TrainConfig
from training.data.annotator_votes import AnnotatorVotes
from training.data.augment import resize_batch
from training.data.balance import epoch_length, with_copies
from training.data.batches import BatchDrawer, batch_drawer
from training.data.splits import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.evaluation import plots
from training.fit.adversarial import FastGradientSign
from training.fit.backend import prepare_backend
from training.fit.compiling import compile_for_epoch, compile_model, resume_plateau
from training.fit.epoch import Learner, train_epoch, validate
from training.fit.history_log import HistoryLog, no_log
from training.fit.losses import build_loss, label_shares
from training.fit.parent_runs import weights_sha256
from training.fit.precision import Policy, choose_precision, detect_bfloat16
from training.fit.result import report_result
from training.fit.run_folder import RunFolder, RunState
from training.fit.sharpness import SharpnessAware
from training.fit.targets import Targets, build_targets
from training.fit.warm_start import warm_start_from
from training.fit.weight_average import EpochMean, WeightAverage


@dataclass(frozen=True)
class _Data:
    """The data of a run.

    Attributes:
        training: Training, with the copies of offline balancing.
        validation: PublicTest.
        majority: Majority labels of the annotators for PublicTest; None without an annotators' head.
        steps: Batches per epoch.
        label_shares: float64 (7,), share of each label in Training.
    """

    training: SplitData
    validation: SplitData
    majority: npt.NDArray[np.int64] | None
    steps: int
    label_shares: npt.NDArray[np.float64]


def train(
    config: TrainConfig,
    dataset: Fer2013,
    run: RunFolder,
    votes: AnnotatorVotes | None = None,
    *,
    stop_after_epochs: int | None = None,
    workers: int = 0,
    log: HistoryLog = no_log,
) -> RunState:
    """Train to the end of the config from the state of the run folder, then write the report of its weights.

    Args:
        config: The recipe.
        dataset: Training is for the updates; PublicTest chooses the best epoch.
        run: Folder for everything that the run writes.
        votes: Annotator votes, for a config with an annotators' head. Votes for Training are targets; votes for
            PublicTest are only measured.
        stop_after_epochs: Return after this number of epochs, without a report, to train in several sessions.
        workers: Processes that draw batches ahead, for a GPU; 0: this process draws them. The result is the same.
        log: Called with the history at the start and after each epoch.

    Returns:
        The state after the last epoch.

    Raises:
        TrainingError: The config, the votes or a parent run does not fit, the folder contains another run, its
            checkpoint is damaged, or the loss diverged.
    """
    data = _prepare_data(config, dataset, votes)
    parents = weights_sha256(config.parent_runs)
    run.open_for(config)
    precision = _prepare_backend(config, run)
    learner, state = _prepare_learner(config, run, data)
    log(state.history)
    last = config.epochs if stop_after_epochs is None else min(config.epochs, state.epochs_done + stop_after_epochs)
    if state.epochs_done < last and not _stops_early(config, state):  # a finished run keeps its provenance
        origin = {"precision": precision, "parent_runs": parents, "parameters": learner.model.count_params()}
        run.write_provenance(_describe(config, dataset, votes) | origin)
        targets = build_targets(config, data.training, votes, run)
        with batch_drawer(data.training.images, config, workers) as drawer:
            _train_epochs(config, data, drawer, targets, learner, state, run, last, log)
    if state.epochs_done == config.epochs or _stops_early(config, state):
        report_result(config, data.validation, run, state)
    return state


def _describe(config: TrainConfig, dataset: Fer2013, votes: AnnotatorVotes | None) -> dict[str, Any]:
    return {
        **provenance.describe_environment(),
        "dataset": provenance.describe_dataset(dataset, votes),
        "config": config.model_dump(mode="json"),
    }


def _train_epochs(
    config: TrainConfig,
    data: _Data,
    drawer: BatchDrawer,
    targets: Targets,
    learner: Learner,
    state: RunState,
    run: RunFolder,
    last: int,
    log: HistoryLog,
) -> None:
    """Train and validate epoch by epoch until `last` or an early stop; write a checkpoint after each epoch."""
    model, average = learner.model, learner.average
    plateau = resume_plateau(config, model, state)
    while state.epochs_done < last and not _stops_early(config, state):
        epoch, started = state.epochs_done, time.perf_counter()
        if config.fine_tuning is not None and epoch == config.fine_tuning.from_epoch:
            compile_for_epoch(model, config, data.steps, epoch, data.label_shares)
            plateau = resume_plateau(config, model, state)
        print(f"Epoch {epoch + 1}/{config.epochs} at {config.size_px(epoch)} px", flush=True)
        logs = train_epoch(learner, drawer, data.training, targets, config, epoch, data.steps)
        with average.applied() if average is not None else nullcontext():
            logs |= validate(model, _resized(data.validation, config, epoch), data.majority, config.loss)
            if _is_best(config, logs, epoch, state):
                state.best_epoch, state.best_val_accuracy = epoch, logs["val_accuracy"]
                run.save_weights(model, run.best_weights)
            if learner.mean is not None and epoch >= config.first_averaged_epoch:
                learner.mean.add(earlier_epochs=epoch - config.first_averaged_epoch)
        if learner.mean is not None and epoch + 1 == config.epochs:
            with learner.mean.applied():
                run.save_weights(model, run.averaged_weights)
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        if plateau is not None:
            plateau.on_epoch_end(epoch, dict(logs))
        _finish_epoch(logs, state, time.perf_counter() - started)
        run.save_checkpoint(model, learner.averages, state)
        plots.plot_curves(state.history, run.path / "curves.png")
        log(state.history)


def _prepare_data(config: TrainConfig, dataset: Fer2013, votes: AnnotatorVotes | None) -> _Data:
    training = with_copies(dataset[Split.TRAINING], config.balance, config.seed)
    validation = dataset[Split.PUBLIC_TEST]
    steps = epoch_length(training.labels, config.balance) // config.batch_size
    if steps == 0:
        raise TrainingError(
            f"batch_size is larger than Training: expected at most {len(training.labels)}."
            f" Received: {config.batch_size}"
        )
    shares = label_shares(training.labels)
    if config.annotator_votes is None:
        return _Data(training, validation, None, steps, shares)
    if votes is None:
        raise TrainingError("the config has an annotators' head: name the file of the annotator votes with --votes.")
    return _Data(training, validation, votes.of(validation.names).majority(), steps, shares)


def _prepare_backend(config: TrainConfig, run: RunFolder) -> Policy:
    precision, reason = choose_precision(config.precision, run.read_precision(), detect_bfloat16())
    print(f"Precision: {precision} ({reason})", flush=True)
    prepare_backend(precision, config.seed)
    return precision


def _prepare_learner(config: TrainConfig, run: RunFolder, data: _Data) -> tuple[Learner, RunState]:
    """Build the network with fresh, pretrained or warm-start weights, or with the state of the checkpoint."""
    epochs_done = run.epochs_done()
    # The optimiser of the last epoch done, because the checkpoint contains its moments.
    model = compile_model(config, data.steps, max(0, epochs_done - 1), data.label_shares)
    if epochs_done == 0:
        architectures.load_pretrained(model, config.model)
        if config.warm_start is not None:
            warm_start_from(model, config.warm_start, config.seed)
    average = WeightAverage(model, config.ema_momentum) if config.ema_momentum is not None else None
    mean = EpochMean(model) if config.averaged_epochs is not None else None
    attacker = None
    if config.adversarial is not None:
        logits = model.output[Head.ORIGINAL.value]
        attacker = FastGradientSign(model, logits, build_loss(config.loss, data.label_shares), config.adversarial)
    sharpness = SharpnessAware(model, config.sharpness_aware) if config.sharpness_aware is not None else None
    learner = Learner(model, average, mean, attacker, sharpness)
    return learner, run.load_checkpoint(model, learner.averages)


def _resized(validation: SplitData, config: TrainConfig, epoch: int) -> SplitData:
    """Return PublicTest at the side of validation images in an epoch (0-based)."""
    return replace(validation, images=resize_batch(validation.images, config.validation_size_px(epoch)))


def _stops_early(config: TrainConfig, state: RunState) -> bool:
    patience = config.early_stopping_patience
    return patience is not None and state.epochs_done - 1 - state.best_epoch >= patience


def _is_best(config: TrainConfig, logs: dict[str, float], epoch: int, state: RunState) -> bool:
    # The first epoch is always the best so far, even with an accuracy of 0, so that every run keeps some weights. So is
    # the first epoch at another size: weights of smaller images are not compared with weights of the final size.
    first = state.best_epoch < 0 or config.validation_size_px(state.best_epoch) != config.validation_size_px(epoch)
    if first:
        return True
    # Equal accuracies are common with a small validation split: the lower loss then decides.
    best = state.history[state.best_epoch]
    return (logs["val_accuracy"], -logs["val_loss"]) > (state.best_val_accuracy, -best["val_loss"])


def _finish_epoch(logs: dict[str, float], state: RunState, seconds: float) -> None:
    """Add an epoch to the state and print its result."""
    state.history.append(logs | {"seconds": seconds})
    state.epochs_done += 1
    state.wall_s += seconds
    print(
        f"  Validation loss {logs['val_loss']:.4f}, accuracy {logs['val_accuracy']:.4f}"
        f" (best {state.best_val_accuracy:.4f} in epoch {state.best_epoch + 1}); {seconds:.0f} s",
        flush=True,
    )
