"""Classification and calibration metrics, computed from logits and labels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from app.contract.labels import LABELS
from app.contract.manifest import ClassMetrics, ReliabilityBin, SplitMetrics
from app.contract.scores import probabilities

ECE_BINS = 15
_CODES = list(range(len(LABELS)))


def measure(
    logits: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    temperature: float,
    in_training: npt.NDArray[np.bool_] | None = None,
) -> SplitMetrics:
    """Compute all metrics of one split.

    Args:
        logits: (N, 7).
        labels: int64 (N,), FER2013 codes.
        temperature: Divisor of the logits for the calibrated probabilities.
        in_training: bool (N,), True for an exact duplicate of a Training image. If given, the accuracy without these
            images is computed too.

    Returns:
        The metrics as stored in the manifest. The precision of a label that is never predicted is 0. Macro averages
        are over the labels that have images.
    """
    predicted = logits.argmax(axis=1)
    correct = predicted == labels
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=_CODES, zero_division=0)
    present = support > 0
    uncalibrated, calibrated = probabilities(logits, 1.0), probabilities(logits, temperature)
    return SplitMetrics(
        images=len(labels),
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), len(labels)),
        accuracy_without_duplicates=None if in_training is None else float(correct[~in_training].mean()),
        macro_precision=float(precision[present].mean()),
        macro_recall=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        per_class={
            label: ClassMetrics(
                precision=float(precision[code]),
                recall=float(recall[code]),
                f1=float(f1[code]),
                support=int(support[code]),
            )
            for code, label in enumerate(LABELS)
        },
        confusion=tuple(
            tuple(int(count) for count in row) for row in confusion_matrix(labels, predicted, labels=_CODES)
        ),
        nll_before_temperature=negative_log_likelihood(uncalibrated, labels),
        nll=negative_log_likelihood(calibrated, labels),
        ece_before_temperature=expected_calibration_error(uncalibrated, labels),
        ece=expected_calibration_error(calibrated, labels),
        reliability=reliability(calibrated, labels),
    )


def negative_log_likelihood(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean of -log of the probability of the true label, in nats."""
    true_scores = scores[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true_scores, np.finfo(np.float64).tiny)).mean())


def expected_calibration_error(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean difference between confidence and accuracy over 15 bins, weighted by the images per bin.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    bins = reliability(scores, labels)
    return sum(row.images * abs(row.confidence - row.accuracy) for row in bins) / len(labels)


def reliability(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> tuple[ReliabilityBin, ...]:
    """Return confidence and accuracy of each of 15 confidence bins of equal width. Empty bins are left out."""
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == labels
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    return tuple(
        ReliabilityBin(
            images=int((bins == index).sum()),
            confidence=float(confidence[bins == index].mean()),
            accuracy=float(correct[bins == index].mean()),
        )
        for index in np.unique(bins)
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion.

    Reference:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z = 1.959964  # 97.5 % quantile of the normal distribution
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return (centre - spread) / scale, (centre + spread) / scale
