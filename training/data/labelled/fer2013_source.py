"""FER2013 as one of the labelled sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from app.contract.labels import LABELS
from training.data.fer2013 import load_fer2013
from training.data.labelled.dataset import OFFICIAL_SPLITS, LabelledSplit
from training.data.labelled.folders import is_fer2013
from training.data.labelled.hash_split import content_hash
from training.data.labelled.part import Part
from training.errors import TrainingError


def read_fer2013_folders(source: Path, names: Iterable[str]) -> Part | None:
    """Read the folder edition in a folder or an archive; None if it is another data set or a part of FER2013."""
    if not is_fer2013(names):
        return None
    try:
        return read_fer2013(source)
    except TrainingError:  # a selection of FER2013 is read like any other data set
        return None


def read_fer2013(source: Path) -> Part:
    """Read all images of a complete edition of FER2013.

    Raises:
        TrainingError: The source is not the complete FER2013.
    """
    dataset = load_fer2013(source)
    members = [(split, dataset[official]) for split, official in OFFICIAL_SPLITS.items()]
    images = np.concatenate([data.images for _, data in members])
    labels = np.concatenate([data.labels for _, data in members])
    names = tuple(f"{OFFICIAL_SPLITS[split]}/{name}" for split, data in members for name in data.names)
    return Part(
        data=LabelledSplit(images, labels, np.ones(len(labels), np.float32), {}, names),
        splits=tuple(split for split, data in members for _ in data.labels),
        hashes=np.array([content_hash(image.tobytes()) for image in images], dtype=np.uint64),
        is_fer2013=True,
        classes=frozenset(LABELS),
    )
