"""Split of images by a hash of their content, where the data states no splits.

The hash alone decides, so a file stays in its split when other files are added, moved or renamed. The shares hold for
each class up to chance. If a class of three or more files would have none in a split, the file with the nearest hash
is moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.data.labelled.dataset import SplitName

# Upper limits of the hash, as shares of its range: 80 % train, 10 % validation, 10 % test.
_LIMITS = (0.8, 0.9)
_VALIDATION_SHARE = 0.1
_RANGE = 2.0**64

Hashes = npt.NDArray[np.uint64]


def content_hash(data: bytes) -> int:
    """Return a 64-bit hash of a file."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def split_by_hash(hashes: Hashes, labels: npt.NDArray[np.int64], *, fill: bool = True) -> tuple[SplitName, ...]:
    """Return the split of each image: 80 % train, 10 % validation, 10 % test.

    Args:
        hashes: uint64 (N,).
        labels: int64 (N,).
        fill: Give each split at least one file of each class that has three.
    """
    codes = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        members = labels == label
        distinct, position = np.unique(hashes[members], return_inverse=True)
        codes[members] = _codes_of(distinct, fill=fill)[position]
    order = tuple(SplitName)
    return tuple(order[code] for code in codes)


def validation_by_hash(hashes: Hashes, splits: Sequence[SplitName]) -> tuple[SplitName, ...]:
    """Return splits in which 10 % of the training images, by their hash, are the validation split."""
    chosen = hashes / _RANGE < _VALIDATION_SHARE
    return tuple(
        SplitName.VALIDATION if each is SplitName.TRAIN and moves else each
        for each, moves in zip(splits, chosen, strict=True)
    )


def _codes_of(distinct: Hashes, *, fill: bool) -> npt.NDArray[np.intp]:
    """Return the split code of each hash of one class, given in ascending order, so the codes ascend too."""
    codes = np.digitize(distinct / _RANGE, _LIMITS)
    if len(codes) < len(SplitName) or not fill:
        return codes
    codes[0], codes[-1] = 0, len(_LIMITS)
    if 1 not in codes:
        train = int((codes == 0).sum())
        codes[train - 1 if train > 1 else train] = 1
    return codes
