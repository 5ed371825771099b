"""The annotator votes of FER+ for the images of FER2013: soft labels for training, majority labels for evaluation.

Ten annotators each chose one of eight emotions, "unknown" or "no face". Contempt is not a label of FER2013, so a soft
label is the distribution of the votes over the seven labels of this project.

Reference:
    Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
    2016, and its code (https://github.com/microsoft/FERPlus, MIT licence): single votes are dropped as mistakes; an
    image has a majority label if more than half of the remaining votes fall on one class.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS, Emotion
from training.errors import TrainingError

_COLUMN_OF_LABEL = {
    Emotion.ANGRY: "anger",
    Emotion.DISGUST: "disgust",
    Emotion.FEAR: "fear",
    Emotion.HAPPY: "happiness",
    Emotion.SAD: "sadness",
    Emotion.SURPRISE: "surprise",
    Emotion.NEUTRAL: "neutral",
}
_OTHER_COLUMNS = ("contempt", "unknown", "nf")
_COLUMNS = (*(_COLUMN_OF_LABEL[Emotion(label)] for label in LABELS), *_OTHER_COLUMNS)

NO_MAJORITY = -1


@dataclass(frozen=True)
class SplitVotes:
    """The annotator votes for the images of one split, in its order.

    Attributes:
        counts: float32 (N, 10): votes for the seven labels in FER2013 order, then contempt, unknown, no face, without
            single votes. All zero for images without votes.
    """

    counts: npt.NDArray[np.float32]

    def targets(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the soft labels and their weights in the loss.

        Returns:
            Soft labels, float32 (N, 7), rows sum to 1, and weights, float32 (N,). The weight is 1 if the seven labels
            have more than half of the votes, else 0; the soft label is uniform then.
        """
        ours = self.counts[:, : len(LABELS)]
        sums = ours.sum(axis=1)
        weights = (sums > self.counts.sum(axis=1) / 2).astype(np.float32)
        shares = np.full_like(ours, 1 / len(LABELS))
        known = weights > 0
        shares[known] = ours[known] / sums[known, np.newaxis]
        return shares, weights

    def majority(self) -> npt.NDArray[np.int64]:
        """Return the majority labels, int64 (N,): FER2013 codes, or `NO_MAJORITY` if no label of the seven has it."""
        largest = self.counts.argmax(axis=1)
        clear = self.counts.max(axis=1) > self.counts.sum(axis=1) / 2
        return np.where(clear & (largest < len(LABELS)), largest, NO_MAJORITY).astype(np.int64)


class AnnotatorVotes:
    """The votes for all images, by path in the folder edition of FER2013.

    Attributes:
        sha256: SHA-256 of the file.
    """

    def __init__(self, path: Path) -> None:
        """Read and check the file.

        Args:
            path: CSV with the columns path, neutral, happiness, surprise, sadness, anger, disgust, fear, contempt,
                unknown, nf. Votes are whole numbers.

        Raises:
            TrainingError: The file is missing or has other columns, or votes are not whole numbers.
        """
        try:
            content = path.read_bytes()
            rows = list(csv.DictReader(content.decode("utf-8").splitlines()))
        except OSError as error:
            raise TrainingError(f"votes {path} cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise TrainingError(f"votes {path} is not a readable CSV: {error}") from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        expected = {"path", *_COLUMNS}
        received = set(rows[0]) if rows else set()
        if received != expected:
            raise TrainingError(
                f"votes {path}: expected the columns {', '.join(sorted(expected))}."
                f" Received: {', '.join(sorted(map(str, received))) or 'no row'}"
            )
        self._path = path
        self._counts = {row["path"]: self._counts_of(row) for row in rows}

    def _counts_of(self, row: dict[str, str]) -> tuple[int, ...]:
        try:
            counts = tuple(int(row[column]) for column in _COLUMNS)
        except (TypeError, ValueError):
            counts = (-1,)
        if min(counts) < 0:
            received = ", ".join(str(row[column]) for column in _COLUMNS)
            raise TrainingError(
                f"votes {self._path}: expected whole numbers of votes for {row['path']}. Received: {received}"
            )
        return counts

    def of(self, names: Sequence[str]) -> SplitVotes:
        """Return the votes for images by name.

        Args:
            names: `SplitData.names`.

        Raises:
            TrainingError: No image has votes, because the dataset is not the folder edition.
        """
        unknown = (0,) * len(_COLUMNS)
        if not any(name in self._counts for name in names):
            raise TrainingError(
                f"votes {self._path} belong to the folder edition of FER2013, which names an image by its path"
                f" (train/happy/Training_1.jpg): choose that edition with --data. Received: {names[0]!r}"
            )
        counts = np.array([self._counts.get(name, unknown) for name in names], dtype=np.float32)
        counts[counts == 1] = 0
        return SplitVotes(counts)
