"""Exact duplicates of FER2013: images with the same decoded pixels, within a split and across splits.

How they are counted decides the figure. Measured on the image-folder edition:

- Within a split, `surplus`: the images that could go without losing a picture. Training: 1,236, in 1,035 groups that
  have 2,271 members. PublicTest: 26. PrivateTest: 17.
- Across splits, `twins_of`: each image of the other split that stands in Training at least once counts once, however
  often it stands in either. PublicTest: 280. PrivateTest: 288.

Identical blank images are duplicates as well: they count. Nothing here writes files or drops images.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data.fer2013 import SplitData


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates within one split.

    Attributes:
        groups: Sets of two or more images with the same pixels.
        surplus: Images that could go without losing a picture: the members of all groups less one for each.
        conflicting: Groups whose members have different labels.
    """

    groups: int
    surplus: int
    conflicting: int


def duplicates_within(split: SplitData) -> Duplicates:
    """Counts the exact duplicates inside a split."""
    labels_of: defaultdict[bytes, list[int]] = defaultdict(list)
    for key, label in zip(_keys(split), split.labels, strict=True):
        labels_of[key].append(int(label))
    groups = [labels for labels in labels_of.values() if len(labels) > 1]
    return Duplicates(
        groups=len(groups),
        surplus=sum(len(labels) - 1 for labels in groups),
        conflicting=sum(len(set(labels)) > 1 for labels in groups),
    )


def twins_of(training: SplitData, other: SplitData) -> npt.NDArray[np.bool_]:
    """Which images of a split stand in Training too.

    Returns:
        bool (N,), in the order of `other`.
    """
    known = set(_keys(training))
    return np.array([key in known for key in _keys(other)], dtype=np.bool_)


def conflicting_twins(training: SplitData, other: SplitData) -> int:
    """Images of `other` that stand in Training under other labels only."""
    labels_of: defaultdict[bytes, Counter[int]] = defaultdict(Counter)
    for key, label in zip(_keys(training), training.labels, strict=True):
        labels_of[key][int(label)] += 1
    return sum(
        key in labels_of and int(label) not in labels_of[key]
        for key, label in zip(_keys(other), other.labels, strict=True)
    )


def _keys(split: SplitData) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in split.images]
