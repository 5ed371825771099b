"""The augmented and mixed batches of an epoch, drawn in this process or ahead of it in worker processes.

A batch depends only on the images, the config, the epoch and its step, so the number of workers has no effect on a run.
This module imports neither Keras nor PyTorch, so that a worker starts fast.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool

import numpy as np
import numpy.typing as npt

from app.contract.contrast import with_min_contrast
from training.config import TrainConfig
from training.data.augment import augment_batch
from training.data.mix import Mix, draw_mix


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        indices: int64 (N,), rows of Training.
        images: uint8 (N, size, size, 1), augmented and mixed.
        mix: How images and targets are mixed; None if they are not.
    """

    indices: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    mix: Mix | None


class BatchDrawer:
    """Draws the batches of a run.

    Args:
        images: Training, uint8 (N, 48, 48, 1).
        config: The recipe.
        pool: Worker processes that were started for the same images and config; None: no workers.
    """

    def __init__(self, images: npt.NDArray[np.uint8], config: TrainConfig, pool: Pool | None = None) -> None:
        self._images, self._config, self._pool = images, config, pool

    def batches(self, order: npt.NDArray[np.int64], epoch: int, steps: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (0-based).

        Args:
            order: int64, rows of Training in the order of the epoch.
            epoch: 0-based.
            steps: Number of batches.
        """
        size = self._config.batch_size
        tasks = [(order[step * size : (step + 1) * size], epoch, step) for step in range(steps)]
        if self._pool is not None:
            yield from self._pool.imap(_draw_in_worker, tasks)
        else:
            yield from (_draw(self._images, self._config, *task) for task in tasks)


@contextmanager
def batch_drawer(images: npt.NDArray[np.uint8], config: TrainConfig, workers: int) -> Iterator[BatchDrawer]:
    """Context with a `BatchDrawer`. Its workers end with the context.

    Args:
        images: Training, uint8 (N, 48, 48, 1).
        config: The recipe.
        workers: Number of processes; 0: batches are drawn in this process.
    """
    if not workers:
        yield BatchDrawer(images, config)
        return
    # A fork would copy the threads of PyTorch in an undefined state.
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(workers, _start_worker, (images, config)) as pool:
        yield BatchDrawer(images, config, pool)


def _draw(
    images: npt.NDArray[np.uint8], config: TrainConfig, indices: npt.NDArray[np.int64], epoch: int, step: int
) -> Batch:
    generator = np.random.default_rng([config.seed, epoch, step])
    size_px = config.size_px(epoch)
    augmented = augment_batch(images[indices], config.augment, generator, size_px)
    mix = draw_mix(len(indices), config.augment, size_px, generator)
    mixed = augmented if mix is None else mix.mix_images(augmented)
    return Batch(indices, with_min_contrast(mixed), mix)


# Images and config of a worker process.
_of_worker: list[tuple[npt.NDArray[np.uint8], TrainConfig]] = []


def _start_worker(images: npt.NDArray[np.uint8], config: TrainConfig) -> None:
    import cv2

    cv2.setNumThreads(1)  # the workers already use all cores
    _of_worker.append((images, config))


def _draw_in_worker(task: tuple[npt.NDArray[np.int64], int, int]) -> Batch:
    images, config = _of_worker[0]
    return _draw(images, config, *task)
