"""The model before and after fine-tuning on the same test images, and what a test split of this size can tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.contract.comparison import PairedComparison
from training.evaluation.labelled import EvaluatedSplit, Evaluation
from training.evaluation.significance import POWER_QUANTILES, SIGNIFICANCE, Comparison, mcnemar

_TELLING = 0.05  # a difference that a test split should find
# Share of the images that exactly one of two related models classifies correctly, before it is measured.
_EXPECTED_DISCORDANCE = 0.2


@dataclass(frozen=True)
class BeforeAndAfter:
    """Two models on one split of the same data.

    Attributes:
        before: Result of the model before fine-tuning.
        after: Result of the fine-tuned model.
        paired: McNemar's test; the first network is the model before.
    """

    before: EvaluatedSplit
    after: EvaluatedSplit
    paired: Comparison

    @property
    def differs(self) -> bool:
        """Whether the difference is larger than chance."""
        return self.paired.p_value < SIGNIFICANCE

    def as_metrics(self, before: Evaluation) -> PairedComparison:
        """Return the comparison for the manifest of the fine-tuned model."""
        contract = before.manifest.contract
        return PairedComparison(
            model=f"{contract.name} {contract.version}",
            sha256=before.manifest.sha256,
            accuracy=self.paired.accuracies[0],
            only_other=self.paired.only_first,
            only_this=self.paired.only_second,
            p_value=self.paired.p_value,
        )


def compare(before: EvaluatedSplit, after: EvaluatedSplit) -> BeforeAndAfter:
    """Compare two results on the same images."""
    correct = (split.logits.argmax(axis=1) == split.labels for split in (before, after))
    return BeforeAndAfter(before, after, mcnemar(*correct))


def detectable_difference(images: int, discordance: float = _EXPECTED_DISCORDANCE) -> float:
    """Return the difference in accuracy, 0 to 1, that McNemar's test finds with a power of 80 %.

    Args:
        images: Number of test images.
        discordance: Share of the images that exactly one of the two models classifies correctly.
    """
    return POWER_QUANTILES * math.sqrt(discordance / images)


def size_warning(images: int) -> str | None:
    """Return a warning if a test split is too small to find a difference of 5 points; None if it is large enough."""
    difference = detectable_difference(images)
    if difference <= _TELLING:
        return None
    needed = math.ceil(_EXPECTED_DISCORDANCE * (POWER_QUANTILES / _TELLING) ** 2)
    return (
        f"Warning: the test split is small: expected at least {needed} images, to find a difference of {_TELLING:.0%}."
        f" Received: {images}. A difference below about {difference:.0%} can go unnoticed."
    )


def verdict(result: BeforeAndAfter) -> str:
    """Return one sentence: the difference with its 95 % interval, and whether it is larger than chance."""
    paired = result.paired
    difference, margin = paired.difference, 1.96 * paired.standard_error
    figures = (
        f"{difference * 100:+.1f} points (95 % interval {(difference - margin) * 100:+.1f} to"
        f" {(difference + margin) * 100:+.1f}; McNemar's test p = {paired.p_value:.2g})"
    )
    if result.differs:
        better = "better" if difference > 0 else "worse"
        return f"The fine-tuned model is {better} by more than chance: {figures}."
    discordance = (paired.only_first + paired.only_second) / paired.images
    unnoticed = detectable_difference(paired.images, discordance or 1 / paired.images)
    return (
        f"The difference is within chance: {figures}. With these {paired.images} images, a difference below about"
        f" {unnoticed * 100:.1f} points can go unnoticed."
    )


def table(result: BeforeAndAfter) -> str:
    """Return accuracy, macro F1, ECE and the recall of each label before and after, as aligned text."""
    before, after = result.before.metrics, result.after.metrics
    rows = [
        ("accuracy", before.accuracy, after.accuracy),
        ("macro F1", before.macro_f1, after.macro_f1),
        ("ECE", before.ece, after.ece),
        *(
            (f"recall of {label}", row.recall, after.per_class[label].recall)
            for label, row in before.per_class.items()
            if row.support
        ),
    ]
    lines = [f"{'':>20} {'before':>8} {'after':>8}   {after.images} images of the split {result.after.name}"]
    return "\n".join([*lines, *(f"{name:>20} {first:>8.3f} {second:>8.3f}" for name, first, second in rows)])
