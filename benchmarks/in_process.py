"""The pipeline without the service: `python -m benchmarks.in_process` reads a job as JSON, writes what it saw.

A process of its own, as the service is one: the same event loop, vision threads, batcher and model, and so many callers
that each wait for their answer. What the service costs on top of this is the service.
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


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        files: Image files, predicted in this order, over and over.
        detect: As in a request.
        callers: Predictions that are under way at once.
        warm_up_s: Predicted before, and not measured.
        seconds: The measurement ends with the first whole cycle of files after so long.
    """

    files: list[str]
    detect: bool
    callers: int
    warm_up_s: float = 1.0
    seconds: float = 4.0


@dataclass
class Seen:
    """What a measurement saw, in seconds."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


def run_job(job: Job) -> Seen:
    """Runs a job in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.in_process"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Seen(**json.loads(ended.stdout))


def main() -> int:
    """Reads a job from standard input and writes what was seen to standard output."""
    job = Job(**json.load(sys.stdin))
    seen = uvloop.run(_measure(job, [Path(path).read_bytes() for path in job.files]))
    json.dump(asdict(seen), sys.stdout)
    return 0


async def _measure(job: Job, files: Sequence[bytes]) -> Seen:
    async with open_engine(Settings()) as engine:
        return await _drive(engine, job, files)


async def _drive(engine: Engine, job: Job, files: Sequence[bytes]) -> Seen:
    options = PredictOptions(detect=job.detect)
    loop = asyncio.get_running_loop()
    seen, turns = Seen(), count()
    created, began, over = time.perf_counter(), None, False

    async def call() -> None:
        nonlocal began, over
        while not over:
            started = time.perf_counter()
            await engine.predict(files[next(turns) % len(files)], options, loop.time() + 3600)
            now = time.perf_counter()
            if began is None:
                if now - created >= job.warm_up_s:
                    began, seen.cpu_s = now, time.process_time()
            elif not over:
                seen.latencies_s.append(now - started)
                if len(seen.latencies_s) % len(files) == 0 and now - began >= job.seconds:
                    over = True
                    seen.seconds, seen.cpu_s = now - began, time.process_time() - seen.cpu_s

    await asyncio.gather(*(call() for _ in range(job.callers)))
    return seen


if __name__ == "__main__":
    sys.exit(main())
