"""The job of the load generator, and the measurement that it returns."""

from __future__ import annotations

import resource
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.process_stats import cpu_seconds, resident_kb

OK = 200
_WARM_UP_REQUESTS = 4  # per client


@dataclass(frozen=True)
class Job:
    """One measurement over HTTP.

    Attributes:
        port: Port of the server on this machine.
        server_pid: Process whose CPU time and memory are measured.
        requests: Paths of files that hold whole HTTP requests. They are sent in this order, again and again.
        clients: Number of connections, which is the largest number of requests in flight.
        rate: Arrivals per second (open loop); None for a closed loop.
        warm_up_s: Seconds of load before the measured window. In a closed loop the warm-up also takes at least four
            requests per client: all clients start at once, and the queue needs that long to reach its steady state.
        seconds: The measured window ends with the first whole cycle of requests after this time.
        min_requests: Smallest number of requests in the measured window.
        health: Also send `GET /healthz` twenty times per second.
        keep_bodies: Keep the body of the first response to each request file.
        memory_interval: Read the memory of the server after every so many measured requests; None to skip this.
        cores: Cores that the load generator may use; None for all.
    """

    port: int
    server_pid: int
    requests: list[str]
    clients: int
    rate: float | None = None
    warm_up_s: float = 1.0
    seconds: float = 4.0
    min_requests: int = 0
    health: bool = False
    keep_bodies: bool = False
    memory_interval: int | None = None
    cores: list[int] | None = None


@dataclass
class Measurement:
    """Raw figures of one measured window. Times and CPU times are in seconds.

    Attributes:
        seconds: Length of the window.
        latencies_s: Latency of every request.
        statuses: Number of responses by status code; "0" stands for a lost connection.
        server_cpu_s: CPU time of all threads of the server.
        server_loop_cpu_s: CPU time of the event loop's thread of the server.
        generator_cpu_s: CPU time of the load generator.
        rss_kb: Resident memory of the server at the end.
        health_s: Latency of every `GET /healthz`.
        health_errors: Number of `GET /healthz` without status 200.
        rss_samples: Pairs of the number of requests so far and the resident memory in kB.
        bodies: First response body by request file.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    server_cpu_s: float = 0.0
    server_loop_cpu_s: float = 0.0
    generator_cpu_s: float = 0.0
    rss_kb: int = 0
    health_s: list[float] = field(default_factory=list)
    health_errors: int = 0
    rss_samples: list[tuple[int, int]] = field(default_factory=list)
    bodies: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """Number of requests without status 200, lost connections included."""
        return sum(number for status, number in self.statuses.items() if status != str(OK))

    @property
    def successes(self) -> int:
        """Number of requests with status 200."""
        return self.statuses.get(str(OK), 0)


class Recorder:
    """Records the responses between the end of the warm-up and the end of a whole cycle of requests."""

    def __init__(self, job: Job) -> None:
        self.measurement = Measurement()
        self.finished = False
        self._job = job
        self._cycle = len(job.requests)
        self._statuses: Counter[str] = Counter()
        self._created = time.perf_counter()
        self._started: float | None = None
        self._warm_up_requests = _WARM_UP_REQUESTS * job.clients if job.rate is None else 1
        self._warm_up_count = 0

    @property
    def measuring(self) -> bool:
        """Whether the measured window has started and not ended."""
        return self._started is not None and not self.finished

    def record(self, index: int, sent: float, status: int, body: bytes) -> None:
        """Record a response.

        Args:
            index: Number of the request, from 0.
            sent: Time at which the request was sent or due, by `time.perf_counter()`.
            status: Status code; 0 for a lost connection.
            body: Response body.
        """
        now = time.perf_counter()
        if self.finished:
            return
        if self._job.keep_bodies:
            self.measurement.bodies.setdefault(self._job.requests[index % self._cycle], body.decode())
        if self._started is None:
            self._warm_up_count += 1
            if now - self._created >= self._job.warm_up_s and self._warm_up_count >= self._warm_up_requests:
                self._start(now)
            return
        self._statuses[str(status)] += 1
        self.measurement.latencies_s.append(now - sent)
        count = len(self.measurement.latencies_s)
        if self._job.memory_interval is not None and count % self._job.memory_interval == 0:
            self.measurement.rss_samples.append((count, resident_kb(self._job.server_pid)))
        whole_cycle = count % self._cycle == 0
        if whole_cycle and count >= self._job.min_requests and now - self._started >= self._job.seconds:
            self._end(now - self._started)

    def _start(self, now: float) -> None:
        self._started = now
        self.measurement.server_cpu_s, self.measurement.server_loop_cpu_s = cpu_seconds(self._job.server_pid)
        self.measurement.generator_cpu_s = _own_cpu_s()

    def _end(self, seconds: float) -> None:
        self.finished = True
        measurement = self.measurement
        total, loop = cpu_seconds(self._job.server_pid)
        measurement.server_cpu_s = total - measurement.server_cpu_s
        measurement.server_loop_cpu_s = loop - measurement.server_loop_cpu_s
        measurement.generator_cpu_s = _own_cpu_s() - measurement.generator_cpu_s
        measurement.seconds = seconds
        measurement.statuses = dict(self._statuses)
        measurement.rss_kb = resident_kb(self._job.server_pid)


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
