"""The pipeline without HTTP: `python -m benchmarks.in_process` reads a job as JSON and writes a measurement.

It runs in a separate process, as the service does, with the same event loop, vision threads, batcher and model. The
difference to a measurement over HTTP is the cost of the HTTP service.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import uvloop

from app.config import Settings
from app.domain import PredictOptions
from app.engine.engine import Engine
from benchmarks.pipeline import open_engine

_NO_DEADLINE_S = 3600


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        files: Paths of image files, predicted in this order, again and again.
        detect: False if the images are crops of faces.
        concurrency: Number of predictions in progress at once.
        warm_up_s: Seconds of predictions before the measured window.
        seconds: The measured window ends with the first whole cycle of files after this time.
    """

    files: list[str]
    detect: bool
    concurrency: int
    warm_up_s: float = 1.0
    seconds: float = 4.0


@dataclass
class Measurement:
    """Raw figures of the measured window, in seconds."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


def run_job(job: Job) -> Measurement:
    """Run a job in a separate process and return its measurement."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.in_process"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Measurement(**json.loads(ended.stdout))


def main() -> int:
    """Read a job from standard input and write the measurement to standard output."""
    job = Job(**json.load(sys.stdin))
    measurement = uvloop.run(_measure(job, [Path(path).read_bytes() for path in job.files]))
    json.dump(asdict(measurement), sys.stdout)
    return 0


async def _measure(job: Job, files: Sequence[bytes]) -> Measurement:
    async with open_engine(Settings()) as engine:
        return await _run(engine, job, files)


async def _run(engine: Engine, job: Job, files: Sequence[bytes]) -> Measurement:
    options = PredictOptions(detect=job.detect)
    loop = asyncio.get_running_loop()
    measurement, indices = Measurement(), count()
    created, started, finished = time.perf_counter(), None, False

    async def predict_until_finished() -> None:
        nonlocal started, finished
        while not finished:
            sent = time.perf_counter()
            await engine.predict(files[next(indices) % len(files)], options, loop.time() + _NO_DEADLINE_S)
            now = time.perf_counter()
            if started is None:
                if now - created >= job.warm_up_s:
                    started, measurement.cpu_s = now, time.process_time()
            elif not finished:
                measurement.latencies_s.append(now - sent)
                if len(measurement.latencies_s) % len(files) == 0 and now - started >= job.seconds:
                    finished = True
                    measurement.seconds = now - started
                    measurement.cpu_s = time.process_time() - measurement.cpu_s

    await asyncio.gather(*(predict_until_finished() for _ in range(job.concurrency)))
    return measurement


if __name__ == "__main__":
    sys.exit(main())
