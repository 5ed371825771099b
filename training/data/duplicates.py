"""Exact duplicates of FER2013: images with the same decoded pixels, within a split and across splits.

The definitions decide the figures. Measured on the folder edition:

- Within a split, `surplus` is the number of images that can be removed without losing a picture. Training: 1,236, in
  1,035 groups with 2,271 members. PublicTest: 26. PrivateTest: 17.
- Across splits, `duplicates_across` marks each image of the other split that is in Training at least once, however
  often it is in either split. PublicTest: 280. PrivateTest: 288.

Identical blank images are duplicates too. This module writes no files and removes no images.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data.splits import SplitData


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates within one split.

    Attributes:
        groups: Sets of two or more images with the same pixels.
        surplus: Images that can be removed without losing a picture: all members minus one per group.
        conflicting: Groups whose members have different labels.
    """

    groups: int
    surplus: int
    conflicting: int


def duplicates_within(split: SplitData) -> Duplicates:
    """Count the exact duplicates within a split."""
    labels_of: defaultdict[bytes, list[int]] = defaultdict(list)
    for key, label in zip(_keys(split), split.labels, strict=True):
        labels_of[key].append(int(label))
    groups = [labels for labels in labels_of.values() if len(labels) > 1]
    return Duplicates(
        groups=len(groups),
        surplus=sum(len(labels) - 1 for labels in groups),
        conflicting=sum(len(set(labels)) > 1 for labels in groups),
    )


def duplicates_across(training: SplitData, other: SplitData) -> npt.NDArray[np.bool_]:
    """Mark the images of a split that are in Training too.

    Returns:
        bool (N,), in the order of `other`.
    """
    known = set(_keys(training))
    return np.array([key in known for key in _keys(other)], dtype=np.bool_)


def conflicting_duplicates(training: SplitData, other: SplitData) -> int:
    """Count the images of `other` that are in Training under different labels only."""
    labels_of: defaultdict[bytes, set[int]] = defaultdict(set)
    for key, label in zip(_keys(training), training.labels, strict=True):
        labels_of[key].add(int(label))
    return sum(
        key in labels_of and int(label) not in labels_of[key]
        for key, label in zip(_keys(other), other.labels, strict=True)
    )


def _keys(split: SplitData) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in split.images]
