"""Exact and near duplicates across splits.

Two images are near duplicates if their perceptual hashes (pHash) differ in few bits and their crops correlate. The
correlation is needed because aligned faces of different people have similar hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from training.data.labelled.dataset import LabelledSplit, SplitName
from training.data.labelled.report import DuplicatePair

_HASH_SIDE = 8  # lowest frequencies in each direction
# Chosen by eye on pairs of PublicTest and Training of FER2013: 418 pairs that are not identical are within both limits,
# and all of the 60 that were looked at show one picture. With ten bits, or a correlation of 0.85, some show two people.
_MAX_BITS = 8  # of 64
_MIN_CORRELATION = 0.9
_CHUNK = 512  # images hashed at a time
_PAIRS = 4_000_000  # compared at a time, 32 MB
# A picture in several splits stays in the first of these.
_PRIORITY = (SplitName.TEST, SplitName.VALIDATION, SplitName.TRAIN)

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Match:
    """A picture that two splits have.

    Attributes:
        left_out: Index of the image to leave out.
        kept: Index of the image that stays.
        exact: Whether the crops are identical.
    """

    left_out: int
    kept: int
    exact: bool


def duplicates_across_splits(images: Images, splits: Sequence[SplitName]) -> list[Match]:
    """Find the images whose picture is in another split too: test comes before validation, validation before train.

    Args:
        images: uint8 (N, 48, 48, 1).
        splits: Split of each image.

    Returns:
        One match for each image to leave out, sorted by it.
    """
    found: dict[int, Match] = {}
    members = {split: np.flatnonzero([each is split for each in splits]) for split in _PRIORITY}
    hashes = perceptual_hashes(images)
    for place, split in enumerate(_PRIORITY):
        for later in _PRIORITY[place + 1 :]:
            for match in _matches(images, hashes, members[later], members[split]):
                if match.kept not in found:  # an image that is left out itself protects nothing
                    found.setdefault(match.left_out, match)
    return [found[index] for index in sorted(found)]


def count_duplicates_within(images: Images, splits: Sequence[SplitName]) -> int:
    """Count the images with identical crops in their own split, minus one for each picture."""
    keys = {(digest, split) for digest, split in zip(_digests(images), splits, strict=True)}
    return len(images) - len(keys)


def perceptual_hashes(images: Images) -> npt.NDArray[np.uint64]:
    """Return the 64-bit pHash of each image: signs of its low frequencies against their median.

    Args:
        images: uint8 (N, 48, 48, 1).

    Returns:
        uint64 (N,).

    Reference:
        Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
    """
    hashes = np.empty(len(images), dtype=np.uint64)
    for start in range(0, len(images), _CHUNK):
        pixels = images[start : start + _CHUNK, :, :, 0].astype(np.float32)
        low = dctn(pixels, axes=(1, 2))[:, :_HASH_SIDE, :_HASH_SIDE].reshape(len(pixels), -1)
        bits = low > np.median(low[:, 1:], axis=1, keepdims=True)  # without the mean brightness
        hashes[start : start + _CHUNK] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return hashes


def describe(match: Match, data: LabelledSplit, splits: Sequence[SplitName]) -> DuplicatePair:
    """Return a match with the names of its images."""
    return DuplicatePair(
        left_out=f"{data.paths[match.left_out]} ({splits[match.left_out]})",
        kept=f"{data.paths[match.kept]} ({splits[match.kept]})",
        exact=match.exact,
        other_label=bool(data.labels[match.left_out] != data.labels[match.kept]),
    )


def _matches(
    images: Images, hashes: npt.NDArray[np.uint64], later: npt.NDArray[np.intp], earlier: npt.NDArray[np.intp]
) -> Iterator[Match]:
    """Yield the most similar image of an earlier split for each image of a later split that has one."""
    if not len(earlier):
        return
    step = max(1, _PAIRS // len(earlier))
    for start in range(0, len(later), step):
        rows = later[start : start + step]
        near = np.bitwise_count(hashes[rows, np.newaxis] ^ hashes[earlier]) <= _MAX_BITS
        for row in np.flatnonzero(near.any(axis=1)):
            left_out, candidates = int(rows[row]), earlier[near[row]]
            correlations = _correlations(images[left_out], images[candidates])
            best = int(correlations.argmax())
            if correlations[best] >= _MIN_CORRELATION:
                kept = int(candidates[best])
                yield Match(left_out, kept, np.array_equal(images[left_out], images[kept]))


def _correlations(image: npt.NDArray[np.uint8], others: Images) -> npt.NDArray[np.float64]:
    """Return the correlation of one image with each of others, -1 to 1. Images of one grey level: 1 if identical."""
    first = image.reshape(-1).astype(np.float64)
    rest = others.reshape(len(others), -1).astype(np.float64)
    first, centred = first - first.mean(), rest - rest.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(first) * np.linalg.norm(centred, axis=1)
    identical = (others == image).all(axis=(1, 2, 3))
    correlations = np.where(norms > 0, centred @ first / np.maximum(norms, 1e-9), 0.0)
    return np.where(identical, 1.0, np.minimum(correlations, 1 - 1e-12))


def _digests(images: Images) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
