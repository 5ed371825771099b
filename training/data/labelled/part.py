"""The images of one source, before the sources are joined."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from training.data.labelled.dataset import LabelledSplit, SplitName
from training.data.labelled.hash_split import content_hash
from training.data.labelled.report import BadFile


@dataclass(frozen=True)
class Part:
    """Images of one source.

    Attributes:
        data: The images; all weights are 1.
        splits: Split of each image; None if the source states no splits.
        hashes: uint64 (N,), content of each file.
        bad_files: Files and rows that cannot be used.
        notes: Sentences for the report.
        is_fer2013: Whether the source is the complete FER2013.
        classes: Names of all classes of the source, dropped ones included.
    """

    data: LabelledSplit
    splits: tuple[SplitName, ...] | None
    hashes: npt.NDArray[np.uint64]
    bad_files: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()
    is_fer2013: bool = False
    classes: frozenset[str] = frozenset()

    def with_column_hashes(self, column: str) -> Part:
        """Return the part with hashes of the values of a column. Images without a value keep the hash of their file."""
        values = self.data.groups.get(column, ("",) * len(self.data))
        hashes = [
            content_hash(value.encode()) if value else int(own) for value, own in zip(values, self.hashes, strict=True)
        ]
        return replace(self, hashes=np.array(hashes, dtype=np.uint64))

    def without(self, drop: Collection[str]) -> Part:
        """Return the part without the images of some labels."""
        kept = np.array([LABELS[label] not in drop for label in self.data.labels], dtype=np.bool_)
        if kept.all():
            return self
        splits = self.splits and tuple(split for split, stays in zip(self.splits, kept, strict=True) if stays)
        note = f"left out with --drop: {int((~kept).sum())} images."
        return replace(
            self, data=self.data.subset(kept), splits=splits, hashes=self.hashes[kept], notes=(*self.notes, note)
        )


def joined_data(parts: Sequence[Part], prefixes: Sequence[str], weights: Sequence[float]) -> LabelledSplit:
    """Join the images of all parts. A prefix before each name keeps names unique; missing groups are ""."""
    columns = list(dict.fromkeys(column for part in parts for column in part.data.groups))
    groups = {
        column: tuple(value for part in parts for value in part.data.groups.get(column, ("",) * len(part.data)))
        for column in columns
    }
    return LabelledSplit(
        np.concatenate([part.data.images for part in parts]),
        np.concatenate([part.data.labels for part in parts]),
        np.concatenate(
            [np.full(len(part.data), weight, np.float32) for part, weight in zip(parts, weights, strict=True)]
        ),
        groups,
        tuple(prefix + path for part, prefix in zip(parts, prefixes, strict=True) for path in part.data.paths),
    )
