"""Spreads files over processes. Not in `__main__`: a spawned process cannot import functions from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from app.cli.worker import Outcome, Worker
from app.config import Settings
from app.domain import PredictOptions
from app.server.cpus import available_cpus

_worker: Worker | None = None  # of a pool's process: made by its initialiser, as nothing else reaches it


def predict_files(paths: Sequence[Path], settings: Settings, options: PredictOptions, jobs: int) -> Iterator[Outcome]:
    """What became of every file, in order.

    Args:
        paths: Of images.
        settings: The service's.
        options: What is asked for.
        jobs: Processes; with 1 the work is done in this one.

    Raises:
        BrokenProcessPool: A process ended before its time.
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
    # Fresh processes: a forked one would inherit locks of threads that it does not have.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (settings, options, threads))
    try:
        yield from pool.map(_predict, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(settings: Settings, options: PredictOptions, threads: int) -> None:
    global _worker  # noqa: PLW0603  (how a pool's process keeps what its initialiser made)
    _worker = Worker(settings, options, threads)


def _predict(path: Path) -> Outcome:
    assert _worker is not None  # noqa: S101  (the initialiser ran)
    return _worker.predict(path)
