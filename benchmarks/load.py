"""The load generator, a process of its own: `python -m benchmarks.load` reads a job as JSON, writes what it saw.

Requests are made beforehand and sent as they are; answers are parsed by httptools. So a request costs it a small
share of what it costs the service, and it says how much. Closed loop: so many clients, each with one kept-alive
connection and one request on its way. Open loop: arrivals of a Poisson process, whatever is answered; each latency
counts from the moment at which the request was to be sent, so a stall is charged to all who waited for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import cast

import httptools
import numpy as np
import uvloop

_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: fer-serve\r\n\r\n"
_HEALTH_INTERVAL_S = 0.05
_OK = 200
_SEED = 7
_WARM_UP_REQUESTS = 4  # of each client


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        port: Of the server, on this machine.
        server_pid: Whose processor time is read when the measurement begins and ends.
        requests: Files that hold whole HTTP requests, sent in this order, over and over.
        clients: Connections: at most so many requests are on their way.
        rate: Arrivals a second (open loop); None for a closed loop.
        warm_up_s: Sent before, and not measured; in a closed loop at least four requests of each client. All of them
            come at once at first, and until what waits is what always waits, large pictures are served more often.
        seconds: The measurement ends with the first whole cycle of requests after so long.
        least: It has at least so many requests.
        health: Also ask /healthz twenty times a second.
        answers: Keep the body of the first answer to each request file.
        sample_every: Read the server's memory every so many measured requests.
        cores: Cores that the generator may use; None for all.
    """

    port: int
    server_pid: int
    requests: list[str]
    clients: int
    rate: float | None = None
    warm_up_s: float = 1.0
    seconds: float = 4.0
    least: int = 0
    health: bool = False
    answers: bool = False
    sample_every: int | None = None
    cores: list[int] | None = None


@dataclass
class Seen:
    """What a measurement saw. Times in seconds; processor times are of the measured window."""

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
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """Answers that are no 200, lost connections included."""
        return sum(number for status, number in self.statuses.items() if status != str(_OK))

    @property
    def good(self) -> int:
        """Answers with 200."""
        return self.statuses.get(str(_OK), 0)


def run_job(job: Job) -> Seen:
    """Runs a job in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Seen(**json.loads(ended.stdout))


def main() -> int:
    """Reads a job from standard input and writes what was seen to standard output."""
    job = Job(**json.load(sys.stdin))
    if job.cores is not None:
        os.sched_setaffinity(0, job.cores)
    seen = uvloop.run(measure(job, [Path(path).read_bytes() for path in job.requests]))
    json.dump(asdict(seen), sys.stdout)
    return 0


async def measure(job: Job, requests: Sequence[bytes]) -> Seen:
    """Sends the requests until the job is done."""
    window = _Window(job)
    health = asyncio.create_task(_watch_health(job, window)) if job.health else None
    if job.rate is None:
        turns = count()
        await asyncio.gather(*(_ask_in_turn(job, requests, turns, window) for _ in range(job.clients)))
    else:
        await _ask_at_rate(job, requests, window)
    if health is not None:
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)
    return window.seen


class _Window:
    """From the end of the warm-up to the end of a whole cycle: only what is answered within it counts."""

    def __init__(self, job: Job) -> None:
        self.seen = Seen()
        self._job = job
        self._cycle = len(job.requests)
        self._statuses: Counter[str] = Counter()
        self._created = time.perf_counter()
        self._began: float | None = None
        self._warm_up_requests = _WARM_UP_REQUESTS * job.clients if job.rate is None else 1
        self._warmed = 0
        self.over = False

    def record(self, turn: int, sent: float, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if self.over:
            return
        if self._job.answers:
            self.seen.answers.setdefault(self._job.requests[turn % self._cycle], body.decode())
        if self._began is None:
            self._warmed += 1
            if now - self._created >= self._job.warm_up_s and self._warmed >= self._warm_up_requests:
                self._begin(now)
            return
        self._statuses[str(status)] += 1
        self.seen.latencies_s.append(now - sent)
        number = len(self.seen.latencies_s)
        if self._job.sample_every is not None and number % self._job.sample_every == 0:
            self.seen.rss_samples.append((number, resident_kb(self._job.server_pid)))
        if number % self._cycle == 0 and number >= self._job.least and now - self._began >= self._job.seconds:
            self._end(now)

    @property
    def measuring(self) -> bool:
        return self._began is not None and not self.over

    def _begin(self, now: float) -> None:
        self._began = now
        self.seen.server_cpu_s, self.seen.server_loop_cpu_s = cpu_seconds(self._job.server_pid)
        self.seen.generator_cpu_s = _own_cpu_s()

    def _end(self, now: float) -> None:
        self.over = True
        assert self._began is not None
        seen = self.seen
        total, loop = cpu_seconds(self._job.server_pid)
        seen.server_cpu_s, seen.server_loop_cpu_s = total - seen.server_cpu_s, loop - seen.server_loop_cpu_s
        seen.generator_cpu_s = _own_cpu_s() - seen.generator_cpu_s
        seen.seconds = now - self._began
        seen.statuses = dict(self._statuses)
        seen.rss_kb = resident_kb(self._job.server_pid)


class _Connection(asyncio.Protocol):
    """One kept-alive connection with one request on its way."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[tuple[int, bytes]] | None = None
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        assert self._answered is not None
        if not self._answered.done():
            self._answered.set_result((self._parser.get_status_code(), b"".join(self._parts)))
        self._parts.clear()
        self._parser = httptools.HttpResponseParser(self)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Client:
    """Asks over one connection, which is made anew where it was lost. A lost request has the status 0."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: _Connection | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        try:
            if self._connection is None:
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
            return await self._connection.ask(request)
        except OSError:
            self._connection = None
            return 0, b""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


async def _ask_in_turn(job: Job, requests: Sequence[bytes], turns: Iterator[int], window: _Window) -> None:
    client = _Client(job.port)
    while not window.over:
        turn = next(turns)
        sent = time.perf_counter()
        window.record(turn, sent, *await client.ask(requests[turn % len(requests)]))
    client.close()


async def _ask_at_rate(job: Job, requests: Sequence[bytes], window: _Window) -> None:
    """Who finds no free connection waits for one, and the wait counts."""
    assert job.rate is not None
    generator = np.random.default_rng(_SEED)
    idle = deque(_Client(job.port) for _ in range(job.clients))
    waiting: deque[tuple[int, float]] = deque()
    under_way: set[asyncio.Task[None]] = set()

    async def serve_waiting(client: _Client) -> None:
        while waiting:
            turn, due = waiting.popleft()
            window.record(turn, due, *await client.ask(requests[turn % len(requests)]))
        idle.append(client)

    due = time.perf_counter()
    for turn in count():
        if window.over:
            break
        due += generator.exponential(1 / job.rate)
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        waiting.append((turn, due))
        if idle:
            task = asyncio.create_task(serve_waiting(idle.popleft()))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    waiting.clear()
    await asyncio.gather(*under_way)
    for client in idle:
        client.close()


async def _watch_health(job: Job, window: _Window) -> None:
    client = _Client(job.port)
    try:
        while True:
            sent = time.perf_counter()
            status, _ = await client.ask(_HEALTH)
            if window.measuring:
                window.seen.health_s.append(time.perf_counter() - sent)
                window.seen.health_errors += status != _OK
            await asyncio.sleep(_HEALTH_INTERVAL_S)
    finally:
        client.close()


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Processor time of a running process until now: of all its threads, and of the first, which has its event loop."""
    return _cpu_of(Path(f"/proc/{pid}/stat")), _cpu_of(Path(f"/proc/{pid}/task/{pid}/stat"))


def _cpu_of(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()  # the name before it may hold spaces
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(pid: int) -> int:
    """Resident memory of a running process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
