"""The result of reading labelled sets: crops with labels, splits, weights and groups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from training.data.labelled.report import LoadReport
from training.data.splits import Fer2013, Split, SplitData
from training.errors import TrainingError

ALL = "all"  # in place of a split: every image


class SplitName(StrEnum):
    """The splits of a labelled set."""

    TRAIN = "train"
    VALIDATION = "validation"  # every choice is made on it
    TEST = "test"


# The splits of FER2013 have the same tasks under other names.
OFFICIAL_SPLITS: Mapping[SplitName, Split] = {
    SplitName.TRAIN: Split.TRAINING,
    SplitName.VALIDATION: Split.PUBLIC_TEST,
    SplitName.TEST: Split.PRIVATE_TEST,
}


@dataclass(frozen=True)
class LabelledSplit:
    """Images of one split, or any selection of images.

    Attributes:
        images: uint8 (N, 48, 48, 1), grey crops as the service makes them.
        labels: int64 (N,), indices into `LABELS`.
        weights: float32 (N,), weight of each image in the loss: the weight of its source.
        groups: Further columns of the CSV, each N texts. An image without a value has "".
        paths: N file names, unique.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    groups: Mapping[str, tuple[str, ...]]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> tuple[int, ...]:
        """Return the number of images per label, in FER2013 code order."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=len(LABELS)))

    def named_counts(self) -> dict[str, int]:
        """Return the number of images by label, 0 for a label without images."""
        return dict(zip(LABELS, self.counts(), strict=True))

    def as_split_data(self) -> SplitData:
        """Return the images, labels and names for the functions that work with a split of FER2013."""
        return SplitData(self.images, self.labels, self.paths, self.weights)

    def subset(self, chosen: npt.NDArray[np.bool_]) -> LabelledSplit:
        """Return the images that a mask bool (N,) marks."""
        indices = np.flatnonzero(chosen)
        return LabelledSplit(
            self.images[indices],
            self.labels[indices],
            self.weights[indices],
            {column: tuple(values[index] for index in indices) for column, values in self.groups.items()},
            tuple(self.paths[index] for index in indices),
        )


@dataclass(frozen=True)
class LabelledData:
    """Labelled sets, joined.

    Attributes:
        all: All images in the order of their sources. Images that were left out are not in it.
        splits: Split of each image, N values.
        hashes: uint64 (N,), from the content of each file.
        stated_splits: Whether the data states splits. False: every image was split by its content hash.
        is_fer2013: Whether a source is FER2013, whose test split is PrivateTest.
        report: What was left out, and notes.
    """

    all: LabelledSplit
    splits: tuple[SplitName, ...]
    hashes: npt.NDArray[np.uint64]
    stated_splits: bool
    is_fer2013: bool
    report: LoadReport

    def __getitem__(self, split: SplitName) -> LabelledSplit:
        return self.all.subset(self._mask(split))

    def _mask(self, split: SplitName) -> npt.NDArray[np.bool_]:
        return np.array([each is split for each in self.splits], dtype=np.bool_)

    def present_splits(self) -> tuple[SplitName, ...]:
        """Return the splits that have images."""
        return tuple(split for split in SplitName if split in self.splits)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that have images, in FER2013 code order."""
        return tuple(label for label, count in zip(LABELS, self.all.counts(), strict=True) if count)

    @property
    def sha256(self) -> str:
        """SHA-256 of all crops with their labels and splits, independent of their order and names."""
        rows = zip(self.all.images, self.all.labels, self.splits, strict=True)
        digests = sorted(
            hashlib.sha256(image.tobytes() + f"{label}{split}".encode()).digest() for image, label, split in rows
        )
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def with_splits(self, splits: Sequence[SplitName], note: str) -> LabelledData:
        """Return the same images in other splits, with a note in the report."""
        return replace(self, splits=tuple(splits), report=self.report.with_note(note))

    def as_dataset(self, name: str) -> Fer2013:
        """Return the data in the type that `train`, `export` and `restore` take.

        Args:
            name: Name of the data for the provenance.

        Raises:
            TrainingError: A split has no image.
        """
        missing = [split for split in SplitName if split not in self.splits]
        if missing:
            raise TrainingError(
                f"expected images in the splits {', '.join(SplitName)}."
                f" Received: no image of {', '.join(missing)}. Add them, or give no splits at all: then the images are"
                " split by their content."
            )
        splits = {official: self[split].as_split_data() for split, official in OFFICIAL_SPLITS.items()}
        return Fer2013(splits, self.sha256, name)
