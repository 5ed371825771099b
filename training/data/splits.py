"""The types of the dataset: its official splits, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS


class Split(StrEnum):
    """The official splits, named as in the `Usage` column."""

    TRAINING = "Training"
    PUBLIC_TEST = "PublicTest"  # validation: every choice is made on it
    PRIVATE_TEST = "PrivateTest"  # test: used once, for a final model


@dataclass(frozen=True)
class SplitData:
    """One split.

    Attributes:
        images: uint8 (N, 48, 48, 1), raw grey levels 0 to 255.
        labels: int64 (N,), FER2013 codes: indices into `LABELS`.
        names: N unique names, sorted: `train/happy/Training_1.jpg` (the id alone is not unique), or `row 000017` of
            the CSV.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def counts(self) -> tuple[int, ...]:
        """Return the number of images per label, in FER2013 code order."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=len(LABELS)))


@dataclass(frozen=True)
class Fer2013:
    """The dataset.

    Attributes:
        splits: The three splits.
        sha256: SHA-256 of all names, labels and pixels in order.
    """

    splits: Mapping[Split, SplitData]
    sha256: str

    def __getitem__(self, split: Split) -> SplitData:
        return self.splits[split]
