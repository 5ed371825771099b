"""Distribution of files over processes. Not in `__main__`: a spawned process cannot import functions from there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from app.cli.worker import Outcome, Worker
from app.config import Settings
from app.domain import PredictOptions
from app.server.cpus import available_cpus

Key = TypeVar("Key")

_WAITING_PER_JOB = 2  # frames, so that memory does not grow with the length of a video

_worker: Worker | None = None  # of a process of the pool; the initialiser creates it


class WorkerPool:
    """Processes that classify images or frames of videos. Use it as a context manager.

    Args:
        settings: The settings of the service.
        options: Options for each image.
        jobs: Number of processes. 1 runs in this process.
    """

    def __init__(self, settings: Settings, options: PredictOptions, jobs: int) -> None:
        self._jobs = jobs
        arguments = (settings, options, max(1, available_cpus() // jobs))
        self._worker = Worker(*arguments) if jobs == 1 else None
        # spawn, because a forked process inherits locked locks of threads that it does not have
        self._pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, arguments) if jobs > 1 else None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._worker is not None:
            self._worker.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def predict_files(self, paths: Iterable[Path]) -> Iterator[Outcome]:
        """Yield the outcome of every image file, in order.

        Raises:
            BrokenProcessPool: A process ended unexpectedly.
        """
        if self._worker is not None:
            yield from map(self._worker.predict, paths)
            return
        assert self._pool is not None  # noqa: S101  (there is one or the other)
        yield from self._pool.map(_predict, paths)

    def predict_frames(self, path: Path, frames: Iterable[tuple[Key, bytes]]) -> Iterator[tuple[Key, Outcome]]:
        """Yield the outcome of each frame, in order.

        Args:
            path: The video.
            frames: A key and the image file of each frame. Two frames per process are taken in advance.

        Raises:
            BrokenProcessPool: A process ended unexpectedly.
        """
        if self._worker is not None:
            for key, data in frames:
                yield key, self._worker.predict_image(path, data)
            return
        assert self._pool is not None  # noqa: S101  (there is one or the other)
        waiting: deque[tuple[Key, Future[Outcome]]] = deque()
        for key, data in frames:
            waiting.append((key, self._pool.submit(_predict_image, path, data)))
            if len(waiting) > self._jobs * _WAITING_PER_JOB:
                first, future = waiting.popleft()
                yield first, future.result()
        for key, future in waiting:
            yield key, future.result()


def _start_worker(settings: Settings, options: PredictOptions, threads: int) -> None:
    global _worker  # noqa: PLW0603  (an initialiser has no other way to pass an object)
    _worker = Worker(settings, options, threads)


def _predict(path: Path) -> Outcome:
    assert _worker is not None  # noqa: S101  (the initialiser ran)
    return _worker.predict(path)


def _predict_image(path: Path, data: bytes) -> Outcome:
    assert _worker is not None  # noqa: S101  (the initialiser ran)
    return _worker.predict_image(path, data)
