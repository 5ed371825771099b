"""Mixed traffic for a chosen time: `python -m stress.soak --minutes 60`.

The traffic has portraits, photographs, crops, batches, base64, forms, bad input and abandoned requests, in a mix that a
seed fixes. Apart from ids and timings, every response must be equal to the response that the same request gets without
other load. After a warm-up, memory, open files and threads must stay constant, and the latency must not grow. With
`--rate` the test runs beside other work; without it, four clients send without a pause.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stress.bad_input import comparable
from stress.checks import RUNS, Check, conclude
from stress.client import Answer, Client, percentile
from stress.service_process import ServiceProcess, load_generator_on, run_service_process, split_cores
from stress.traffic import ABANDONED, Kind, traffic_mix

# Largest growth of the median from the first third of the time to the last. An allocator keeps the memory of a rare
# large photograph.
MAX_MEMORY_GROWTH_MB = 30
MAX_SLOWDOWN = 1.5
_CLIENTS = 4
_WARM_UP_SHARE = 0.1
_SAMPLE_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Sample:
    """State of the service at a time since the start, in seconds."""

    at_s: float
    memory_mb: float
    open_files: int
    threads: int


@dataclass
class Record:
    """Everything that a run measures.

    Attributes:
        expected: Response to each kind of request without other load.
        count: Number of requests by kind.
        wrong: Number of wrong responses by description.
        latencies: Time since the start, kind and latency of every answered request, in seconds.
        samples: State of the service, once per second.
    """

    expected: dict[str, dict[str, Any]]
    count: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    latencies: list[tuple[float, str, float]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def add(self, kind: Kind, answer: Answer, at_s: float) -> None:
        """Count an answer and compare it with the expected one."""
        self.count[kind.name] += 1
        self.latencies.append((at_s, kind.name, answer.seconds))
        if answer.status != kind.status:
            self.wrong[f"{kind.name}: {answer.status} instead of {kind.status}"] += 1
        elif without_ids(answer) != self.expected[kind.name]:
            self.wrong[f"{kind.name}: another response than without load"] += 1


def without_ids(answer: Answer) -> dict[str, Any]:
    """Return a response without ids and timings, including those of the entries of a batch."""
    body = comparable(answer.body)
    for entry in body.get("results", []):
        entry.pop("request_id", None)
        entry.pop("timings_ms", None)
        entry.get("error", {}).pop("request_id", None)
    return body


async def soak(service: ServiceProcess, seconds: float, rate: float | None, seed: int) -> Record:
    """Send the mixed traffic.

    Args:
        service: The running service.
        seconds: Length of the run.
        rate: Requests per second; None for four clients without a pause.
        seed: Fixes the order of the requests.
    """
    mix = traffic_mix()
    client = Client(service.port)
    expected = {kind.name: without_ids(await client.send(kind.request)) for kind in mix if kind.status != ABANDONED}
    record = Record(expected)
    generator = np.random.default_rng(seed)
    shares = np.array([kind.share for kind in mix])
    started = time.monotonic()

    async def send() -> None:
        kind = mix[generator.choice(len(mix), p=shares / shares.sum())]
        if kind.status == ABANDONED:
            await client.abandon(kind.request, after_s=float(generator.uniform(0, 0.1)))
            record.count[kind.name] += 1
        else:
            record.add(kind, await client.send(kind.request), time.monotonic() - started)

    async def send_until_the_end() -> None:
        while time.monotonic() - started < seconds:
            await send()

    sampling = asyncio.create_task(_sample(service, record.samples))
    if rate is None:
        await asyncio.gather(*(send_until_the_end() for _ in range(_CLIENTS)))
    else:
        await _send_at_rate(send, rate, seconds)
    sampling.cancel()
    client.close()
    return record


async def _send_at_rate(send: Callable[[], Awaitable[None]], rate: float, seconds: float) -> None:
    started = time.monotonic()
    tasks: set[asyncio.Task[None]] = set()
    for number in itertools.count(1):
        tasks.add(asyncio.ensure_future(send()))
        tasks = {task for task in tasks if not task.done()}
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        if time.monotonic() - started >= seconds:
            break
    await asyncio.gather(*tasks)


async def _sample(service: ServiceProcess, samples: list[Sample]) -> None:
    started = time.monotonic()
    while True:
        at_s = time.monotonic() - started
        samples.append(Sample(at_s, service.memory_mb, len(service.open_files), service.threads))
        await asyncio.sleep(_SAMPLE_INTERVAL_S)


def evaluate(record: Record, seconds: float) -> tuple[list[Check], dict[str, object]]:
    """Return the checks, and the figures of each third of the time after the warm-up."""
    warm_up_s = seconds * _WARM_UP_SHARE
    bounds = [warm_up_s + (seconds - warm_up_s) * third / 3 for third in range(4)]
    thirds = [_figures_between(record, low, high) for low, high in itertools.pairwise(bounds)]
    total = sum(record.count.values())
    responses = Check("responses under load equal those without load", f"{total} requests in {seconds:.0f} s")
    responses.observed = ", ".join(f"{count} {name}" for name, count in record.count.most_common())
    responses.violations = [f"{count} x {what}" for what, count in record.wrong.most_common(5)]
    samples = f"{len(record.samples)} samples, by thirds of the time"
    return [responses, _check_leaks(thirds, samples), _check_latency(thirds)], {"thirds": thirds, "requests": total}


def _figures_between(record: Record, low: float, high: float) -> dict[str, float]:
    samples = [sample for sample in record.samples if low <= sample.at_s < high]
    portraits = [latency for at_s, name, latency in record.latencies if low <= at_s < high and name == "portrait"]
    return {
        "memory_mb": percentile([sample.memory_mb for sample in samples], 0.5),
        "open_files": percentile([float(sample.open_files) for sample in samples], 0.5),
        "threads": max((sample.threads for sample in samples), default=0),
        "portrait_p50_ms": 1000 * percentile(portraits, 0.5),
        "portrait_p95_ms": 1000 * percentile(portraits, 0.95),
    }


def _check_leaks(thirds: list[dict[str, float]], attempt: str) -> Check:
    first, last = thirds[0], thirds[-1]
    check = Check("memory, open files and threads stay constant", attempt)
    check.observed = "; ".join(
        f"{third['memory_mb']:.0f} MB, {third['open_files']:.0f} files, {third['threads']:.0f} threads"
        for third in thirds
    )
    growth_mb = last["memory_mb"] - first["memory_mb"]
    check.expect(growth_mb <= MAX_MEMORY_GROWTH_MB, f"the memory grew by {growth_mb:.0f} MB")
    check.expect(last["open_files"] <= first["open_files"] + _CLIENTS, "the number of open files grew")
    check.expect(last["threads"] <= first["threads"], "the number of threads grew")
    return check


def _check_latency(thirds: list[dict[str, float]]) -> Check:
    check = Check("the latency does not grow", "median and 95th percentile of portraits, by thirds of the time")
    check.observed = "; ".join(
        f"{third['portrait_p50_ms']:.0f} and {third['portrait_p95_ms']:.0f} ms" for third in thirds
    )
    slowdown = thirds[-1]["portrait_p50_ms"] / max(thirds[0]["portrait_p50_ms"], 0.001)
    check.expect(slowdown <= MAX_SLOWDOWN, f"{slowdown:.2f} times the latency of the first third")
    return check


def main() -> int:
    """Print and store the checks. Return 1 if a guarantee was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--rate", type=float, help="requests per second; without it, four clients send without a pause")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    service_cores, generator_cores = split_cores()
    seconds = arguments.minutes * 60
    with (
        load_generator_on(generator_cores),
        run_service_process(RUNS / "soak.log", service_cores, FER_DEADLINE_MS="60000") as service,
    ):
        record = asyncio.run(soak(service, seconds, arguments.rate, arguments.seed))
        status = service.process.poll()
    checks, figures = evaluate(record, seconds)
    checks[0].expect(status is None, f"the service ended with status {status}")
    details = {"minutes": arguments.minutes, "rate": arguments.rate, "cores": len(service_cores)}
    return conclude("soak", checks, **details, **figures)


if __name__ == "__main__":
    sys.exit(main())
