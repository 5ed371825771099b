"""Balance of labels after training: logits minus a factor of the logarithm of each label's share of Training.

Reference:
    Menon et al., "Long-tail learning via logit adjustment", 2021 (post-hoc adjustment).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from joblib import cpu_count

from app.contract.manifest import SplitMetrics
from app.inference.session import EmotionSession
from training.data.splits import Fer2013, Split
from training.evaluation.evaluate import session_logits
from training.evaluation.metrics import measure
from training.fit.losses import label_shares

FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Adjusted:
    """Metrics on PublicTest with one factor.

    Attributes:
        factor: Of the logarithm of the share of each label in Training; 0 is the model as it is.
        metrics: Of the adjusted logits.
    """

    factor: float
    metrics: SplitMetrics


def measure_adjusted(model_path: Path, dataset: Fer2013, factors: Sequence[float] = FACTORS) -> list[Adjusted]:
    """Measure an exported model on PublicTest with adjusted logits.

    Args:
        model_path: ONNX file with its manifest.
        dataset: Training gives the shares of the labels; PublicTest is measured.
        factors: Factors to measure.

    Raises:
        ManifestError: The file does not match its manifest.
    """
    session = EmotionSession(model_path, "cpu", cpu_count())
    public = dataset[Split.PUBLIC_TEST]
    # The adjustment holds for logits whose probabilities are calibrated.
    calibrated = session_logits(session, public.images) / session.manifest.contract.temperature
    shares = label_shares(dataset[Split.TRAINING].labels)
    return [
        Adjusted(factor, measure(adjust(calibrated, shares, factor), public.labels, temperature=1.0))
        for factor in factors
    ]


def adjust(logits: npt.NDArray[np.float32], shares: npt.NDArray[np.float64], factor: float) -> npt.NDArray[np.floating]:
    """Subtract `factor` times the logarithm of the share of each label, float64 (7,), from logits (N, 7)."""
    adjusted: npt.NDArray[np.floating] = logits - factor * np.log(shares)
    return adjusted
