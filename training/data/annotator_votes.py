"""Reads the crowd's votes of FER+ for the images of FER2013: soft targets to learn from, majority labels to judge by.

Ten people each chose one of eight emotions, "unknown" or "no face". Contempt is no emotion of FER2013, so the seven
labels of this project share what the crowd gave them.

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
class Votes:
    """The crowd's votes for the images of one split, in its order.

    Attributes:
        counts: float32 (N, 10): votes for the seven labels in FER2013 order, then contempt, unknown, no face, without
            single votes. All zero where the crowd did not vote.
    """

    counts: npt.NDArray[np.float32]

    def targets(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What a network learns.

        Returns:
            Shares of the seven labels, float32 (N, 7), and weights, float32 (N,): 1 where the seven have more than
            half of the votes, else 0 (the shares are uniform there, and count for nothing).
        """
        ours = self.counts[:, : len(LABELS)]
        sums = ours.sum(axis=1)
        weights = (sums > self.counts.sum(axis=1) / 2).astype(np.float32)
        shares = np.full_like(ours, 1 / len(LABELS))
        known = weights > 0
        shares[known] = ours[known] / sums[known, np.newaxis]
        return shares, weights

    def majority(self) -> npt.NDArray[np.int64]:
        """The majority label's FER2013 code, int64 (N,); `NO_MAJORITY` where there is none among the seven."""
        largest = self.counts.argmax(axis=1)
        clear = self.counts.max(axis=1) > self.counts.sum(axis=1) / 2
        return np.where(clear & (largest < len(LABELS)), largest, NO_MAJORITY).astype(np.int64)


class VotesFile:
    """The votes of all images, by path inside the folder edition of FER2013.

    Attributes:
        sha256: Of the file.
    """

    def __init__(self, path: Path) -> None:
        """Reads and checks the file.

        Args:
            path: CSV with the columns path, neutral, happiness, surprise, sadness, anger, disgust, fear, contempt,
                unknown, nf; whole numbers of votes.

        Raises:
            TrainingError: It is missing, has other columns, or a row's votes are no whole numbers.
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
            raise TrainingError(f"votes {self._path}: expected whole numbers of votes for {row['path']}.")
        return counts

    def of(self, names: Sequence[str]) -> Votes:
        """The votes for images by name.

        Args:
            names: `SplitData.names`.

        Raises:
            TrainingError: No image has votes: the dataset is not of the folder edition.
        """
        unknown = (0,) * len(_COLUMNS)
        if not any(name in self._counts for name in names):
            raise TrainingError(
                f"votes {self._path} go by path (train/happy/Training_1.jpg), as the folder edition of FER2013 names"
                f" its images. Received: {names[0]!r}"
            )
        counts = np.array([self._counts.get(name, unknown) for name in names], dtype=np.float32)
        counts[counts == 1] = 0
        return Votes(counts)
