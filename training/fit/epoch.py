"""One epoch: updates of the weights on Training, then validation on PublicTest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from app.contract.contrast import with_min_contrast
from training.architectures.heads import Head
from training.config import LossConfig, TrainConfig
from training.data.annotator_votes import NO_MAJORITY
from training.data.balance import epoch_order
from training.data.batches import BatchDrawer
from training.data.splits import SplitData
from training.errors import TrainingError
from training.fit.adversarial import FastGradientSign
from training.fit.losses import build_loss, targets_for
from training.fit.progress import build_progress
from training.fit.sharpness import SharpnessAware
from training.fit.targets import Targets
from training.fit.weight_average import EpochMean, StoredWeights, WeightAverage

_EVALUATION_BATCH = 256

Logits = npt.NDArray[np.float32]


@dataclass
class Learner:
    """A compiled network in training, with the parts that follow its weights.

    Attributes:
        model: The compiled TRAINED network with its heads.
        average: Moving average of the weights.
        mean: Mean of the weights after the last epochs.
        attacker: Attack for adversarial training.
        sharpness: Training step with two gradient passes.
    """

    model: keras.Model
    average: WeightAverage | None
    mean: EpochMean | None
    attacker: FastGradientSign | None
    sharpness: SharpnessAware | None

    @property
    def averages(self) -> list[StoredWeights]:
        """The averages of the weights, in their order in a checkpoint."""
        return [average for average in (self.average, self.mean) if average is not None]


def train_epoch(
    learner: Learner,
    drawer: BatchDrawer,
    training: SplitData,
    targets: Targets,
    config: TrainConfig,
    epoch: int,
    steps: int,
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
    sharpness = learner.sharpness if config.is_sharpness_aware(epoch) else None
    progress = build_progress(steps)
    totals: Counter[str] = Counter()
    for step, batch in enumerate(drawer.batches(order, epoch, steps)):
        images, wanted = batch.images, targets.of_batch(batch)
        if learner.attacker is not None:
            images = learner.attacker.attack(images, wanted.labels[Head.ORIGINAL.value])
        if sharpness is not None:
            logs = sharpness.train_on_batch(images, wanted.labels, wanted.weights)
        else:
            logs = learner.model.train_on_batch(images, wanted.labels, sample_weight=wanted.weights, return_dict=True)
        if not np.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}, step {step + 1}: lower the learning rate."
            )
        if learner.average is not None:
            learner.average.update(epoch * steps + step)
        totals.update(_logs_of_original(logs))
        progress.update(step + 1, [(name, total / (step + 1)) for name, total in totals.items()])
    return {name: total / steps for name, total in totals.items()}


def validate(
    model: keras.Model, validation: SplitData, majority: npt.NDArray[np.int64] | None, loss: LossConfig
) -> dict[str, float]:
    """Measure a model on PublicTest.

    Args:
        model: The network with its heads.
        validation: PublicTest, at the side of validation images.
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


def _logs_of_original(logs: Mapping[str, float]) -> dict[str, float]:
    """Return loss and accuracy of the original labels' head; Keras adds a prefix if there are several heads."""
    return {name: float(logs.get(f"{Head.ORIGINAL}_{name}", logs.get(name, np.nan))) for name in ("loss", "accuracy")}
