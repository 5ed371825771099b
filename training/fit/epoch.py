"""One epoch: updates of the weights on Training, then validation on PublicTest."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from app.contract.contrast import with_min_contrast
from training.architectures.heads import Head
from training.config import LossConfig, TrainConfig
from training.data.annotator_votes import NO_MAJORITY, AnnotatorVotes
from training.data.augment import Mix, augment_batch
from training.data.balance import epoch_order
from training.data.splits import SplitData
from training.errors import TrainingError
from training.fit.adversarial import FastGradientSign
from training.fit.distillation import distillation_targets
from training.fit.losses import build_loss, image_weights, targets_for
from training.fit.run_folder import RunFolder
from training.fit.weight_average import WeightAverage

_EVALUATION_BATCH = 256

Logits = npt.NDArray[np.float32]
# An array for each head, by the head's name.
ByHead = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Targets:
    """Targets of the heads for Training or for a batch.

    Attributes:
        labels: By head, (N, 7) shares of the labels, or (N,) codes for the loss `sparse`.
        weights: By head, float32 (N,) weights of the images in the loss.
    """

    labels: ByHead
    weights: ByHead

    def take(self, indices: npt.NDArray[np.int64]) -> Targets:
        """Return the targets of some images."""
        return Targets(
            {head: labels[indices] for head, labels in self.labels.items()},
            {head: weights[indices] for head, weights in self.weights.items()},
        )

    def blend(self, mix: Mix) -> Targets:
        """Return the targets of mixed images."""
        return Targets(
            {head: mix.blend(labels) for head, labels in self.labels.items()},
            {head: mix.blend(weights) for head, weights in self.weights.items()},
        )


def build_targets(config: TrainConfig, training: SplitData, votes: AnnotatorVotes | None, run: RunFolder) -> Targets:
    """Return the targets for Training: labels, blended with distillation targets, and annotator votes."""
    original = Head.ORIGINAL.value
    labels = {original: targets_for(config.loss, training.labels)}
    weights = {original: image_weights(config.loss, training.labels)}
    if config.distillation is not None:
        labels[original] = distillation_targets(
            labels[original],
            training.images,
            config.distillation.runs,
            config.distillation.share,
            run.distillation_answers,
        )
    if config.annotator_votes is not None and votes is not None:
        annotators = Head.ANNOTATORS.value
        labels[annotators], weights[annotators] = votes.of(training.names).targets()
    return Targets(labels, weights)


@dataclass
class Learner:
    """A compiled network in training, with the parts that follow its weights.

    Attributes:
        model: The compiled TRAINED network with its heads.
        average: Moving average of the weights.
        attacker: Attack for adversarial training.
    """

    model: keras.Model
    average: WeightAverage | None
    attacker: FastGradientSign | None


def train_epoch(
    learner: Learner, training: SplitData, targets: Targets, config: TrainConfig, epoch: int, steps: int
) -> dict[str, float]:
    """Train one epoch (0-based).

    Returns:
        The mean loss and accuracy of the original labels' head.

    Raises:
        TrainingError: The loss became infinite or NaN.
    """
    generator = np.random.default_rng([config.seed, epoch])
    order = epoch_order(training.labels, config.balance, generator)
    # Dropout draws from the backend's global generator. A new seed in every epoch makes a resumed run exact.
    keras.utils.set_random_seed(int(generator.integers(2**31)))
    bar = keras.utils.Progbar(steps, verbose=1 if sys.stdout.isatty() else 2)
    totals: Counter[str] = Counter()
    for step in range(steps):
        chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
        images, batch = _make_batch(training.images[chosen], targets.take(chosen), config, epoch, step)
        if learner.attacker is not None:
            images = learner.attacker.attack(images, batch.labels[Head.ORIGINAL.value])
        logs = learner.model.train_on_batch(images, batch.labels, sample_weight=batch.weights, return_dict=True)
        if not np.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}, step {step + 1}: lower the learning rate."
            )
        if learner.average is not None:
            learner.average.update(epoch * steps + step)
        totals.update(_logs_of_original(logs))
        bar.update(step + 1, [(name, total / (step + 1)) for name, total in totals.items()])
    return {name: total / steps for name, total in totals.items()}


def validate(
    model: keras.Model, validation: SplitData, majority: npt.NDArray[np.int64] | None, loss: LossConfig
) -> dict[str, float]:
    """Measure a model on PublicTest.

    Args:
        model: The network with its heads.
        validation: PublicTest.
        majority: Majority labels of the annotators for PublicTest, for a model with an annotators' head.
        loss: The loss of the original labels.

    Returns:
        `val_loss` and `val_accuracy` of the original labels' head, and `val_annotator_accuracy` with `majority`.
    """
    logits = predict(model, validation.images)
    original = logits[Head.ORIGINAL.value]
    logs = {
        "val_loss": float(build_loss(loss)(targets_for(loss, validation.labels), original)),
        "val_accuracy": float((original.argmax(axis=1) == validation.labels).mean()),
    }
    if majority is not None:
        clear = majority != NO_MAJORITY
        correct = logits[Head.ANNOTATORS.value].argmax(axis=1)[clear] == majority[clear]
        logs["val_annotator_accuracy"] = float(correct.mean())
    return logs


def predict(model: keras.Model, images: npt.NDArray[np.uint8]) -> dict[str, Logits]:
    """Return the logits (N, 7) of each head."""
    logits: dict[str, Logits] = model.predict(with_min_contrast(images), batch_size=_EVALUATION_BATCH, verbose=0)
    return logits


def _make_batch(
    images: npt.NDArray[np.uint8], targets: Targets, config: TrainConfig, epoch: int, step: int
) -> tuple[npt.NDArray[np.uint8], Targets]:
    generator = np.random.default_rng([config.seed, epoch, step])
    images = augment_batch(images, config.augment, generator, config.size_px(epoch))
    if config.augment.mixup_alpha:
        mix = Mix.draw(len(images), config.augment.mixup_alpha, generator)
        images, targets = mix.blend(images), targets.blend(mix)
    return with_min_contrast(images), targets


def _logs_of_original(logs: Mapping[str, float]) -> dict[str, float]:
    """Return loss and accuracy of the original labels' head; Keras adds a prefix if there are several heads."""
    return {name: float(logs.get(f"{Head.ORIGINAL}_{name}", logs.get(name, np.nan))) for name in ("loss", "accuracy")}
