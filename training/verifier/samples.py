"""Batches of faces and of other crops."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import BLANK_DEVIATION, SplitData
from training.verifier.config import VerifierConfig
from training.verifier.distortions import distorted, part_of_face

Grey = npt.NDArray[np.uint8]

_TURN_PROBABILITY = 0.3  # of a crop without a face


def clean_faces(split: SplitData, votes: AnnotatorVotes | None) -> Grey:
    """Return the crops of a split that show a face: not blank, and not voted "not a face" by two annotators."""
    kept = split.images.std(axis=(1, 2, 3)) >= BLANK_DEVIATION
    if votes is not None:
        kept &= votes.of(split.names).counts[:, -1] == 0  # single votes are left out of the counts
    faces: Grey = split.images[kept]
    return faces


@dataclass(frozen=True)
class Sources:
    """What the batches are made of; both uint8 (N, 48, 48, 1)."""

    faces: Grey
    others: Grey


def draw(
    sources: Sources, count: int, config: VerifierConfig, generator: np.random.Generator
) -> tuple[Grey, npt.NDArray[np.float32]]:
    """Draw distorted crops.

    Returns:
        Crops, uint8 (count, 48, 48, 1), and labels, float32 (count, 1): 1 for a face, 0 for another crop.
    """
    crops, labels = [], []
    for kind in generator.random(count):
        background = _other(sources, generator)
        is_face = kind < config.face_share
        if is_face:
            crop = sources.faces[generator.integers(len(sources.faces))]
        elif kind < config.face_share + config.part_share:
            crop = part_of_face(sources.faces[generator.integers(len(sources.faces))], background, generator)
        else:
            crop = _other(sources, generator)
        crops.append(distorted(crop, background, config.distortions, generator))
        labels.append(float(is_face))
    return np.stack(crops), np.array(labels, dtype=np.float32)[:, np.newaxis]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is untyped
    """Batches of one epoch after another; every batch depends on the seed, the epoch and its number only."""

    def __init__(self, sources: Sources, config: VerifierConfig) -> None:
        super().__init__()
        self._sources, self._config, self._epoch = sources, config, 0

    def __len__(self) -> int:
        return self._config.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[Grey, npt.NDArray[np.float32]]:
        generator = np.random.default_rng([self._config.seed, self._epoch, index])
        return draw(self._sources, self._config.batch_size, self._config, generator)

    def on_epoch_end(self) -> None:
        """Draw other batches in the next epoch."""
        self._epoch += 1


def _other(sources: Sources, generator: np.random.Generator) -> Grey:
    """Return another crop, sometimes turned by a quarter: a picture without a face has none in any direction."""
    crop = sources.others[generator.integers(len(sources.others))]
    return np.ascontiguousarray(
        np.rot90(crop, int(generator.integers(4)) if generator.random() < _TURN_PROBABILITY else 0)
    )
