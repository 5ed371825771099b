"""Goodput: requests that are answered with 200 per second, at peak load and at ten times the peak load."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from benchmarks.machine import CpuKind
from benchmarks.process_stats import cpu_seconds
from stress.client import Answer, Client, closed_loop, open_loop, percentile
from stress.workloads import PHOTOGRAPHS, PORTRAITS

OVERLOAD_FACTOR = 10
# Smallest goodput at ten times the peak load, as a share of the peak. Refusals use CPU time that depends on the kind of
# machine. A service that refuses requests before ASGI kept 81 % (portraits) and 85 % (photographs) on a machine with
# AVX2 only, and 88 to 94 % with AVX-512. The floors are 8 points below these figures.
GOODPUT_FLOORS: dict[CpuKind, dict[str, float]] = {
    CpuKind.AVX2: {PORTRAITS: 0.73, PHOTOGRAPHS: 0.77},
    CpuKind.AVX512: {PORTRAITS: 0.80, PHOTOGRAPHS: 0.80},
}
# Few enough requests that the service admits all of them: one in the model, one in a vision thread, two that wait.
_PEAK_CLIENTS = 4


@dataclass(frozen=True)
class Peak:
    """Throughput of the service when four clients each wait for their answer.

    Attributes:
        per_s: Answers with 200 per second.
        cpu_ms: CPU time of the service per answer.
    """

    per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class Overload:
    """Answers at ten times the peak load.

    Attributes:
        peak: Throughput before the overload.
        seconds: Length of the overload.
        answers: Answers to all requests of the overload.
        cpu_s: CPU time of the service until the last answer, in seconds.
    """

    peak: Peak
    seconds: float
    answers: list[Answer]
    cpu_s: float

    @property
    def goodput_per_s(self) -> float:
        """Answers with 200 per second during the overload."""
        start = min(answer.sent for answer in self.answers)
        in_time = [answer for answer in self.answers if answer.sent + answer.seconds - start <= self.seconds]
        return count_ok(in_time) / self.seconds

    @property
    def offered_per_s(self) -> float:
        """Requests per second during the overload."""
        sent = [answer.sent for answer in self.answers]
        return len(sent) / (max(sent) - min(sent))

    @property
    def answer_cpu_s(self) -> float:
        """CPU time of the service for the admitted requests, if each takes as long as at the peak."""
        return len(self.admitted_s) * self.peak.cpu_ms / 1000

    @property
    def refusal_cpu_ms(self) -> float:
        """CPU time of the service per refusal: its whole CPU time without that of the admitted requests."""
        return 1000 * (self.cpu_s - self.answer_cpu_s) / max(1, len(self.refusals))

    @property
    def admitted_s(self) -> list[float]:
        """Latency of every request that was answered with 200, in seconds."""
        return [answer.seconds for answer in self.answers if answer.status == 200]

    @property
    def refusals(self) -> list[Answer]:
        """Answers with 503."""
        return [answer for answer in self.answers if answer.status == 503]

    @property
    def other_statuses(self) -> list[int]:
        """Statuses that are neither 200 nor 503."""
        return [answer.status for answer in self.answers if answer.status not in {200, 503}]

    def figures(self) -> dict[str, float]:
        """Return the main figures by name."""
        refused_s = [answer.seconds for answer in self.refusals]
        return {
            "peak_per_s": self.peak.per_s,
            "peak_cpu_ms": self.peak.cpu_ms,
            "offered_per_s": self.offered_per_s,
            "goodput_per_s": self.goodput_per_s,
            "goodput_share": self.goodput_per_s / self.peak.per_s,
            "answer_cpu_share": self.answer_cpu_s / self.cpu_s,
            "refusal_cpu_ms": self.refusal_cpu_ms,
            "admitted_max_s": max(self.admitted_s, default=0.0),
            "refused_p50_s": percentile(refused_s, 0.5),
            "refused_p99_s": percentile(refused_s, 0.99),
            "refused_max_s": max(refused_s, default=0.0),
            "requests": len(self.answers),
        }


async def measure_peak(client: Client, service_pid: int, request: bytes, seconds: float) -> Peak:
    """Measure the throughput of four clients that each wait for their answer.

    Raises:
        RuntimeError: No request is answered with 200.
    """
    requests = itertools.repeat(request)
    # The warm-up also lets the service update its cost estimate.
    await closed_loop(client, requests, _PEAK_CLIENTS, min(2.0, seconds))
    cpu_s, _ = cpu_seconds(service_pid)
    answers = await closed_loop(client, requests, _PEAK_CLIENTS, seconds)
    cpu_s = cpu_seconds(service_pid)[0] - cpu_s
    start, end = min(answer.sent for answer in answers), max(answer.sent + answer.seconds for answer in answers)
    answered = count_ok(answers)
    if answered == 0:
        raise RuntimeError(f"no request was answered with 200. Received: {sorted({a.status for a in answers})}")
    return Peak(answered / (end - start), 1000 * cpu_s / answered)


async def measure_overload(client: Client, service_pid: int, request: bytes, peak: Peak, seconds: float) -> Overload:
    """Send ten times as many requests per second as the service can answer."""
    cpu_s, _ = cpu_seconds(service_pid)
    answers = await open_loop(client, itertools.repeat(request), peak.per_s * OVERLOAD_FACTOR, seconds)
    return Overload(peak, seconds, answers, cpu_seconds(service_pid)[0] - cpu_s)


def count_ok(answers: list[Answer]) -> int:
    """Return the number of answers with status 200."""
    return sum(answer.status == 200 for answer in answers)
