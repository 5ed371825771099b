"""The types of the dataset: its official splits, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS

FER2013_NAME = "FER2013"
# Grey levels. An image with a smaller standard deviation shows nothing. FER2013 has 14 such images, 12 of them of one
# grey level only; the next smallest deviation is 9.1.
BLANK_DEVIATION = 5.0


class Split(StrEnum):
    """The official splits, named as in the `Usage` column."""

    TRAINING = "Training"
    PUBLIC_TEST = "PublicTest"  # validation: every choice is made on it
    PRIVATE_TEST = "PrivateTest"  # test: used once, for a final model


_OWN_TITLES = {Split.TRAINING: "train", Split.PUBLIC_TEST: "validation", Split.PRIVATE_TEST: "test"}


@dataclass(frozen=True)
class SplitData:
    """One split.

    Attributes:
        images: uint8 (N, 48, 48, 1), raw grey levels 0 to 255.
        labels: int64 (N,), FER2013 codes: indices into `LABELS`.
        names: N names: `train/happy/Training_1.jpg` (the id alone is not unique), or `row 000017` of the CSV. They are
            sorted and unique, except in a split with the copies of `with_copies`.
        weights: float32 (N,), weight of each image in the loss; None: all weights are equal.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    weights: npt.NDArray[np.float32] | None = None

    def relative_weights(self) -> npt.NDArray[np.float32]:
        """Return the weights with a mean of 1, float32 (N,), so that they do not change the learning rate."""
        if self.weights is None:
            return np.ones(len(self.labels), dtype=np.float32)
        return np.asarray(self.weights / self.weights.mean(), dtype=np.float32)

    def counts(self) -> tuple[int, ...]:
        """Return the number of images per label, in FER2013 code order."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=len(LABELS)))


@dataclass(frozen=True)
class Fer2013:
    """The dataset: FER2013, or a labelled set of a user in its form.

    Attributes:
        splits: The three splits.
        sha256: SHA-256 of all names, labels and pixels in order.
        name: Name of the data set.
    """

    splits: Mapping[Split, SplitData]
    sha256: str
    name: str = FER2013_NAME

    @property
    def is_own(self) -> bool:
        """Whether this is a labelled set of a user."""
        return self.name != FER2013_NAME

    def title(self, split: Split) -> str:
        """Return the name of a split for the user: PublicTest, or `validation` in a labelled set of a user."""
        return _OWN_TITLES[split] if self.is_own else split.value

    def __getitem__(self, split: Split) -> SplitData:
        return self.splits[split]
