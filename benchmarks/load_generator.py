"""The load generator, a separate process: `python -m benchmarks.load_generator` reads a job and writes a measurement.

Job and measurement are JSON. All requests exist before the measurement starts, and responses are parsed in C, so the
load generator uses little CPU time; it reports how much. Closed loop: each client has one kept-alive connection and one
request in flight. Open loop: requests arrive as a Poisson process, independent of the responses. The latency of a
request counts from the time at which it was due, so a stall of the server counts for every request that it delays.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.http_client import Client
from benchmarks.measurement import OK, Job, Measurement, Recorder

_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: fer-serve\r\n\r\n"
_HEALTH_INTERVAL_S = 0.05
_SEED = 7


def run_job(job: Job) -> Measurement:
    """Run a job in a separate process and return its measurement."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.load_generator"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Measurement(**json.loads(ended.stdout))


def main() -> int:
    """Read a job from standard input and write the measurement to standard output."""
    job = Job(**json.load(sys.stdin))
    if job.cores is not None:
        os.sched_setaffinity(0, job.cores)
    measurement = uvloop.run(measure(job, [Path(path).read_bytes() for path in job.requests]))
    json.dump(asdict(measurement), sys.stdout)
    return 0


async def measure(job: Job, requests: Sequence[bytes]) -> Measurement:
    """Send the requests until the measured window ends.

    Args:
        job: What to measure.
        requests: Contents of the files in `job.requests`.
    """
    recorder = Recorder(job)
    health = asyncio.create_task(_probe_health(job.port, recorder)) if job.health else None
    if job.rate is None:
        indices = count()
        await asyncio.gather(*(_run_client(job.port, requests, indices, recorder) for _ in range(job.clients)))
    else:
        await _run_open_loop(job, job.rate, requests, recorder)
    if health is not None:
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)
    return recorder.measurement


async def _run_client(port: int, requests: Sequence[bytes], indices: Iterator[int], recorder: Recorder) -> None:
    client = Client(port)
    while not recorder.finished:
        index = next(indices)
        sent = time.perf_counter()
        recorder.record(index, sent, *await client.send(requests[index % len(requests)]))
    client.close()


async def _run_open_loop(job: Job, rate: float, requests: Sequence[bytes], recorder: Recorder) -> None:
    """Send requests at a mean rate. A request without a free connection waits, and its latency includes this wait."""
    generator = np.random.default_rng(_SEED)
    idle = deque(Client(job.port) for _ in range(job.clients))
    waiting: deque[tuple[int, float]] = deque()
    tasks: set[asyncio.Task[None]] = set()

    async def send_waiting(client: Client) -> None:
        while waiting:
            index, due = waiting.popleft()
            recorder.record(index, due, *await client.send(requests[index % len(requests)]))
        idle.append(client)

    due = time.perf_counter()
    for index in count():
        if recorder.finished:
            break
        due += generator.exponential(1 / rate)
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        waiting.append((index, due))
        if idle:
            task = asyncio.create_task(send_waiting(idle.popleft()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    waiting.clear()
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()


async def _probe_health(port: int, recorder: Recorder) -> None:
    client = Client(port)
    try:
        while True:
            sent = time.perf_counter()
            status, _ = await client.send(_HEALTH)
            if recorder.measuring:
                recorder.measurement.health_s.append(time.perf_counter() - sent)
                recorder.measurement.health_errors += status != OK
            await asyncio.sleep(_HEALTH_INTERVAL_S)
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
