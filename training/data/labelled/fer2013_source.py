"""FER2013 as one of the labelled sets."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from app.contract.labels import LABELS
from training.data.fer2013 import Fer2013, load_fer2013
from training.data.labelled.csv_table import is_fer2013_csv
from training.data.labelled.dataset import OFFICIAL_SPLITS, LabelledSplit, SplitName
from training.data.labelled.folders import is_fer2013
from training.data.labelled.hash_split import content_hash
from training.data.labelled.listing import list_archive, list_folder
from training.data.labelled.part import Part
from training.errors import TrainingError


def complete_fer2013(source: Path) -> Fer2013 | None:
    """Return FER2013 if a source is one of its editions and complete; None if it is another data set.

    Raises:
        TrainingError: The source is a damaged archive, or a damaged or incomplete `fer2013.csv`.
    """
    suffix = source.suffix.lower()
    if source.is_file() and suffix == ".csv":
        return load_fer2013(source) if is_fer2013_csv(source) else None
    if not source.is_dir() and not (source.is_file() and suffix == ".zip"):
        return None
    with ExitStack() as stack:
        names = list_folder(source).files if source.is_dir() else list_archive(source, stack).files
        if not is_fer2013(names):
            return None
    try:
        return load_fer2013(source)
    except TrainingError:  # a selection of FER2013 is read like any other data set
        return None


def as_part(dataset: Fer2013, *, tests: bool = True) -> Part:
    """Return FER2013 as one of the sources; without `tests`, only its Training split."""
    chosen = tuple(SplitName) if tests else (SplitName.TRAIN,)
    members = [(split, dataset[OFFICIAL_SPLITS[split]]) for split in chosen]
    images = np.concatenate([data.images for _, data in members])
    labels = np.concatenate([data.labels for _, data in members])
    names = tuple(f"{OFFICIAL_SPLITS[split]}/{name}" for split, data in members for name in data.names)
    return Part(
        data=LabelledSplit(images, labels, np.ones(len(labels), np.float32), {}, names),
        splits=tuple(split for split, data in members for _ in data.labels),
        hashes=np.array([content_hash(image.tobytes()) for image in images], dtype=np.uint64),
        notes=() if tests else ("FER2013: only its Training split is used.",),
        is_fer2013=True,
        classes=frozenset(LABELS),
    )
