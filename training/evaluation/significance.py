"""McNemar's test: whether two networks differ in accuracy on the same images.

The test uses only the images that exactly one of the two networks classifies correctly. It finds smaller differences
than two separate intervals, because both networks see the same images.

Reference:
    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from joblib import cpu_count
from scipy.stats import binomtest

from app.inference.session import EmotionSession
from training.data.splits import Fer2013, Split
from training.evaluation.evaluate import BOTH_TESTS, session_logits

SIGNIFICANCE = 0.05  # a smaller p-value is a difference larger than chance
# Sum of the normal quantiles of 97.5 % (two-sided significance) and 80 % (power).
POWER_QUANTILES = 1.96 + 0.84


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images.

    Attributes:
        images: Number of images.
        accuracies: Of the first and the second network, 0 to 1.
        only_first: Images that only the first network classifies correctly.
        only_second: Images that only the second network classifies correctly.
        p_value: Exact two-sided p-value of the hypothesis that both networks are equally accurate.
    """

    images: int
    accuracies: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float

    @property
    def difference(self) -> float:
        """Accuracy of the second network minus that of the first."""
        return (self.only_second - self.only_first) / self.images

    @property
    def standard_error(self) -> float:
        """Standard error of the difference between paired proportions."""
        discordant = self.only_first + self.only_second
        return math.sqrt(max(0.0, discordant - (self.only_second - self.only_first) ** 2 / self.images)) / self.images


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Comparison:
    """Compare two networks.

    Args:
        first: bool (N,), whether the first network classifies each image correctly.
        second: bool (N,), the same for the second network.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p_value = binomtest(only_second, discordant, 0.5).pvalue if discordant else 1.0
    return Comparison(len(first), (float(first.mean()), float(second.mean())), only_first, only_second, float(p_value))


def compare_models(first: Path, second: Path, dataset: Fer2013, *, final: bool = False) -> Mapping[str, Comparison]:
    """Compare two exported networks.

    Args:
        first: ONNX file.
        second: ONNX file.
        dataset: FER2013.
        final: Also compare on PrivateTest and on both test splits, for a network that is final. Otherwise only
            PublicTest is read.

    Returns:
        By split; `BOTH_TESTS` for both test splits together.

    Raises:
        ManifestError: A file does not match its manifest.
    """
    splits = [Split.PUBLIC_TEST, Split.PRIVATE_TEST] if final else [Split.PUBLIC_TEST]
    correct = [_correct(path, dataset, splits) for path in (first, second)]
    compared = {split.value: mcnemar(*(by_split[split] for by_split in correct)) for split in splits}
    if final:
        compared[BOTH_TESTS] = mcnemar(*(np.concatenate(list(by_split.values())) for by_split in correct))
    return compared


def _correct(path: Path, dataset: Fer2013, splits: Sequence[Split]) -> dict[Split, npt.NDArray[np.bool_]]:
    session = EmotionSession(path, "cpu", cpu_count())
    return {
        split: session_logits(session, dataset[split].images).argmax(axis=1) == dataset[split].labels
        for split in splits
    }
