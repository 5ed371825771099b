"""Class balance: augmented copies of rare labels, made once before training, or oversampling in every epoch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from training.config import AugmentConfig, BalanceConfig
from training.data.augment import augment_batch
from training.data.splits import SplitData

# Flip, rotation and zoom, as in the report of the four-layer CNN, which names no amounts; these are common ones.
_COPY = AugmentConfig(flip_probability=0.5, rotation_degrees=15, zoom=(0.9, 1.1))


def with_copies(training: SplitData, config: BalanceConfig, seed: int) -> SplitData:
    """Add augmented copies of the images of rare labels: offline balancing.

    Args:
        training: The split as read.
        config: `copies_up_to` is the wanted number of images per label; labels with enough images get no copies.
        seed: Seed of the copies.

    Returns:
        The split followed by the copies. A copy has the name and the weight of its original.
    """
    images, labels, names = [training.images], [training.labels], list(training.names)
    indices = [np.arange(len(training.labels))]
    for label, wanted in config.copies_up_to.items():
        code = LABELS.index(label)
        members = np.flatnonzero(training.labels == code)
        missing = wanted - len(members)
        if missing <= 0 or len(members) == 0:
            continue
        generator = np.random.default_rng([seed, code])
        sources = np.resize(members, missing)
        images.append(augment_batch(training.images[sources], _COPY, generator, training.images.shape[1]))
        labels.append(training.labels[sources])
        names += [training.names[source] for source in sources]
        indices.append(sources)
    weights = None if training.weights is None else training.weights[np.concatenate(indices)]
    return SplitData(np.concatenate(images), np.concatenate(labels), tuple(names), weights)


def epoch_length(labels: npt.NDArray[np.int64], config: BalanceConfig) -> int:
    """Return the number of images of one epoch."""
    if not config.oversample:
        return len(labels)
    counts = np.bincount(labels)
    return int(counts.max() * np.count_nonzero(counts))


def epoch_order(
    labels: npt.NDArray[np.int64], config: BalanceConfig, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the indices of one epoch in random order, int64.

    Args:
        labels: int64 (N,).
        config: With `oversample`, images of rarer labels are repeated, so that all labels are equally frequent.
        generator: Source of all randomness.
    """
    if not config.oversample:
        return generator.permutation(len(labels))
    largest = int(np.bincount(labels).max())
    # Whole rounds over the images of a label, the last one in part: counts of two images differ by at most one.
    repeated = [np.resize(generator.permutation(np.flatnonzero(labels == code)), largest) for code in np.unique(labels)]
    return generator.permutation(np.concatenate(repeated))
