"""Makes rare labels less rare: more copies made once before training, or the same images drawn more often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from training.config import AugmentConfig, BalanceConfig
from training.data.augment import augment_batch
from training.data.fer2013 import SplitData

# Flip, rotation and zoom, as the four-layer CNN's report balances disgust and surprise; the amounts are usual ones.
_COPY = AugmentConfig(flip_probability=0.5, rotation_degrees=15, zoom=(0.9, 1.1))


def with_copies(training: SplitData, config: BalanceConfig, seed: int) -> SplitData:
    """Training with changed copies of its rare labels' images, made once: offline balancing.

    Args:
        training: The split as read.
        config: `copies_up_to` says how many images a label should have; labels with as many are left alone.
        seed: Of the copies.

    Returns:
        The split with the copies behind it; a copy has the name of the image that it was made from.
    """
    images, labels, names = [training.images], [training.labels], list(training.names)
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
    return SplitData(np.concatenate(images), np.concatenate(labels), tuple(names))


def epoch_length(labels: npt.NDArray[np.int64], config: BalanceConfig) -> int:
    """Images of one epoch."""
    if not config.oversample:
        return len(labels)
    counts = np.bincount(labels)
    return int(counts.max() * np.count_nonzero(counts))


def epoch_order(
    labels: npt.NDArray[np.int64], config: BalanceConfig, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices of one epoch in random order.

    Args:
        labels: int64 (N,).
        config: With `oversample`, images of rarer labels come several times, so that all labels come equally often.
        generator: Where all randomness comes from.
    """
    if not config.oversample:
        return generator.permutation(len(labels))
    largest = int(np.bincount(labels).max())
    # Whole rounds over a label's images, the last one in part: none comes twice more often than another.
    repeated = [np.resize(generator.permutation(np.flatnonzero(labels == code)), largest) for code in np.unique(labels)]
    return generator.permutation(np.concatenate(repeated))
