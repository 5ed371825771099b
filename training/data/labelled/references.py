"""A labelled reference to one image file, and the names of splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.data.labelled.dataset import ALL, SplitName
from training.data.labelled.listing import Read
from training.data.labelled.report import BadFile
from training.errors import TrainingError

SPLIT_NAMES: Mapping[str, SplitName] = {
    **dict.fromkeys(("train", "training"), SplitName.TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "publictest"), SplitName.VALIDATION),
    **dict.fromkeys(("test", "testing", "privatetest"), SplitName.TEST),
}
EXPECTED_SPLITS = "train, val (or valid, validation) and test"


@dataclass(frozen=True)
class Reference:
    """One image file with its label, before it is read.

    Attributes:
        name: Unique name within the source.
        read: Reads the file.
        class_name: Label, or the class that is dropped.
        split: Its split; None if the source states no splits.
        groups: Further columns of a CSV.
    """

    name: str
    read: Read
    class_name: str
    split: SplitName | None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """All references of one source."""

    found: tuple[Reference, ...]
    bad_files: tuple[BadFile, ...] = ()


def parse_split(name: str) -> str:
    """Return the split that an option names: a `SplitName` or `ALL`.

    Raises:
        TrainingError: The name is unknown.
    """
    split = split_of(name)
    if split is not None:
        return split
    if name.strip().lower() == ALL:
        return ALL
    raise TrainingError(
        f"--split: expected {EXPECTED_SPLITS}, or all; for FER2013 also Training, PublicTest or PrivateTest."
        f" Received: {name}"
    )


def split_of(name: str) -> SplitName | None:
    """Return the split that a folder or a value of a CSV names, or None."""
    return SPLIT_NAMES.get(name.strip().lower())
