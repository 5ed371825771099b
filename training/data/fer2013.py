"""Load FER2013: read an edition, check it, cache it, and return the three official splits as arrays.

Nothing in this module augments, shuffles or depends on Keras.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from app.contract.labels import LABELS
from training.data.cache import cache_path, default_cache_dir, read_cache, write_cache
from training.data.editions import Record, read_records
from training.data.problems import Problems
from training.data.splits import Fer2013, Split, SplitData
from training.errors import TrainingError

__all__ = ["EXPECTED_COUNTS", "Fer2013", "Split", "SplitData", "load_fer2013"]

# Images per label in FER2013 code order (angry, disgust, fear, happy, sad, surprise, neutral): 35,887 in all.
# Source: Goodfellow et al. 2013, icml_face_data; the same in all three editions.
EXPECTED_COUNTS: Mapping[Split, tuple[int, ...]] = {
    Split.TRAINING: (3995, 436, 4097, 7215, 4830, 3171, 4965),
    Split.PUBLIC_TEST: (467, 56, 496, 895, 653, 415, 607),
    Split.PRIVATE_TEST: (491, 55, 528, 879, 594, 416, 626),
}


def load_fer2013(source: Path, *, cache_dir: Path | None = None, allow_incomplete: bool = False) -> Fer2013:
    """Read, check and cache FER2013.

    Args:
        source: The Kaggle archive (.zip), the folder that contains `train/` and `test/`, or `fer2013.csv`.
        cache_dir: Folder for the decoded arrays; None for `default_cache_dir()`.
        allow_incomplete: Accept counts other than the official ones (samples, smoke tests).

    Raises:
        TrainingError: The source is missing, truncated, mislabelled or of the wrong size. The message lists the
            problems.
    """
    if not source.exists():
        raise TrainingError(
            f"{source} does not exist. Expected FER2013 as Kaggle's archive (.zip), as the unpacked folder with"
            " train/ and test/, or as fer2013.csv."
        )
    cache = cache_path(cache_dir or default_cache_dir(), source)
    dataset = read_cache(cache)
    if dataset is None:
        dataset = _assemble(source, read_records(source))
        write_cache(cache, dataset)
    if not allow_incomplete:
        _check_counts(source, dataset)
    return dataset


def _assemble(source: Path, records: Iterator[Record]) -> Fer2013:
    by_split: dict[Split, list[Record]] = {split: [] for split in Split}
    for record in records:
        by_split[record.split].append(record)
    problems = Problems(source)
    digest = hashlib.sha256()
    splits: dict[Split, SplitData] = {}
    for split, members in by_split.items():
        if not members:
            problems.add(f"no image of {split}")
            continue
        members.sort(key=lambda record: record.name)
        for name, times in Counter(record.name for record in members).items():
            if times > 1:
                problems.add(f"{name} is {times} times in {split}")
        splits[split] = SplitData(
            images=np.stack([record.image for record in members])[..., np.newaxis],
            labels=np.array([record.label for record in members], dtype=np.int64),
            names=tuple(record.name for record in members),
        )
        digest.update("\n".join(splits[split].names).encode())
        digest.update(splits[split].labels.astype("<i8").tobytes())
        digest.update(splits[split].images.tobytes())
    problems.raise_if_any()
    return Fer2013(splits, digest.hexdigest())


def _check_counts(source: Path, dataset: Fer2013) -> None:
    problems = Problems(source)
    for split, expected in EXPECTED_COUNTS.items():
        for label, wanted, found in zip(LABELS, expected, dataset[split].counts(), strict=True):
            if wanted != found:
                problems.add(f"{split}: expected {wanted} {label}. Received: {found}")
    problems.raise_if_any()
