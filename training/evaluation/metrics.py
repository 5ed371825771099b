"""Every figure that this project quotes of a classifier, from logits and labels. numpy and scikit-learn only."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from app.contract.labels import LABELS
from app.contract.manifest import ClassMetrics, ReliabilityBin, SplitMetrics
from app.contract.scores import probabilities

ECE_BINS = 15


def measure(
    logits: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    temperature: float,
    training_twin: npt.NDArray[np.bool_] | None = None,
) -> SplitMetrics:
    """Measures one split.

    Args:
        logits: (N, 7).
        labels: int64 (N,), FER2013 codes.
        temperature: Of the calibrated probabilities.
        training_twin: bool (N,), True where the same pixels stand in Training too; adds the accuracy without them.

    Returns:
        All figures, as the manifest holds them. A label that is never predicted has precision 0.
    """
    predicted = logits.argmax(axis=1)
    correct = predicted == labels
    codes = list(range(len(LABELS)))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=codes, zero_division=0)
    before, after = probabilities(logits, 1.0), probabilities(logits, temperature)
    return SplitMetrics(
        images=len(labels),
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), len(labels)),
        accuracy_without_training_twins=None if training_twin is None else float(correct[~training_twin].mean()),
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        macro_f1=float(f1.mean()),
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
            tuple(int(count) for count in row) for row in confusion_matrix(labels, predicted, labels=codes)
        ),
        nll_before_temperature=negative_log_likelihood(before, labels),
        nll=negative_log_likelihood(after, labels),
        ece_before_temperature=expected_calibration_error(before, labels),
        ece=expected_calibration_error(after, labels),
        reliability=reliability(after, labels),
    )


def negative_log_likelihood(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Mean of -log of the true label's probability, in nats."""
    true_scores = scores[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true_scores, np.finfo(np.float64).tiny)).mean())


def expected_calibration_error(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Mean distance between confidence and accuracy over 15 confidence bins of equal width, weighted by their images.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    bins = reliability(scores, labels)
    return sum(row.images * abs(row.confidence - row.accuracy) for row in bins) / len(labels)


def reliability(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> tuple[ReliabilityBin, ...]:
    """What the reliability diagram shows: confidence against accuracy in each of 15 bins that holds an image."""
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
    """Wilson's 95 % interval of a share.

    Reference:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z = 1.959964  # the normal distribution's 97.5 % quantile
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return (centre - spread) / scale, (centre + spread) / scale
