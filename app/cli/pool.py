"""Distribution of files over processes. Not in `__main__`: a spawned process cannot import functions from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from app.cli.worker import Outcome, Worker
from app.config import Settings
from app.domain import PredictOptions
from app.server.cpus import available_cpus

_worker: Worker | None = None  # of a process of the pool; the initialiser creates it


def predict_files(paths: Sequence[Path], settings: Settings, options: PredictOptions, jobs: int) -> Iterator[Outcome]:
    """Yield the outcome of every file, in order.

    Args:
        paths: Image files.
        settings: The settings of the service.
        options: Options for every image.
        jobs: Number of processes. 1 runs in this process.

    Raises:
        BrokenProcessPool: A process ended unexpectedly.
    """
    jobs = min(jobs, max(1, len(paths)))
    threads = max(1, available_cpus() // jobs)
    if jobs == 1:
        worker = Worker(settings, options, threads)
        try:
            yield from map(worker.predict, paths)
        finally:
            worker.close()
        return
    # spawn, because a forked process inherits locked locks of threads that it does not have
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (settings, options, threads))
    try:
        yield from pool.map(_predict, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(settings: Settings, options: PredictOptions, threads: int) -> None:
    global _worker  # noqa: PLW0603  (an initialiser has no other way to pass an object)
    _worker = Worker(settings, options, threads)


def _predict(path: Path) -> Outcome:
    assert _worker is not None  # noqa: S101  (the initialiser ran)
    return _worker.predict(path)
