"""Targets of the heads: labels, annotator votes, and the predictions of finished networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.architectures.heads import Head
from training.config import TrainConfig
from training.data.annotator_votes import AnnotatorVotes
from training.data.batches import Batch
from training.data.expected_labels import expected_labels
from training.data.mix import Mix
from training.data.splits import SplitData
from training.fit.distillation import ConsistentTeachers, distillation_targets
from training.fit.losses import image_weights, targets_for
from training.fit.run_folder import RunFolder

# An array for each head, by the head's name.
ByHead = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Targets:
    """Targets of the heads for Training or for a batch.

    Attributes:
        labels: By head, (N, 7) shares of the labels, or (N,) codes for the loss `sparse`.
        weights: By head, float32 (N,) weights of the images in the loss.
        teachers: Networks whose predictions for a batch are part of its targets; None without consistent distillation.
    """

    labels: ByHead
    weights: ByHead
    teachers: ConsistentTeachers | None = None

    def of_batch(self, batch: Batch) -> Targets:
        """Return the targets of a batch: those of its images, mixed like them, with the predictions of the teachers."""
        targets = self._take(batch.indices)
        if batch.mix is not None:
            targets = targets._blend(batch.mix)
        if self.teachers is None:
            return targets
        original = Head.ORIGINAL.value
        blended = self.teachers.blend(targets.labels[original], batch.images)
        return replace(targets, labels={**targets.labels, original: blended})

    def _take(self, indices: npt.NDArray[np.int64]) -> Targets:
        return Targets(
            {head: labels[indices] for head, labels in self.labels.items()},
            {head: weights[indices] for head, weights in self.weights.items()},
        )

    def _blend(self, mix: Mix) -> Targets:
        return Targets(
            {head: mix.blend(labels) for head, labels in self.labels.items()},
            {head: mix.blend(weights) for head, weights in self.weights.items()},
        )


def build_targets(config: TrainConfig, training: SplitData, votes: AnnotatorVotes | None, run: RunFolder) -> Targets:
    """Return the targets for Training.

    The target of the original labels is the label, blended with the label expected from the annotator votes, then with
    the predictions of finished networks. The target of the annotators' head is the votes.
    """
    original = Head.ORIGINAL.value
    labels = {original: targets_for(config.loss, training.labels)}
    weights = {original: image_weights(config.loss, training.labels) * training.relative_weights()}
    if config.annotator_votes is not None and votes is not None:
        annotators, of_images = Head.ANNOTATORS.value, votes.of(training.names)
        labels[annotators], weights[annotators] = of_images.targets()
        share = config.annotator_votes.label_share
        if share:
            labels[original] = (1 - share) * labels[original] + share * expected_labels(of_images, training.labels)
    teachers = None
    if config.distillation is not None and config.distillation.images == "augmented":
        teachers = ConsistentTeachers(config.distillation)
    elif config.distillation is not None:
        labels[original] = distillation_targets(
            labels[original],
            training.images,
            config.distillation.runs,
            config.distillation.share,
            run.distillation_answers,
        )
    return Targets(labels, weights, teachers)
