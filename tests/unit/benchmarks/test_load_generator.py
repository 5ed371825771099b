"""The load generator, against a server in the process of the test. No assertion depends on the speed of the machine."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

from benchmarks import load_generator
from benchmarks.measurement import Job, Measurement


class FakeServer:
    """Server that answers with given statuses, holds the first request for a time, and counts requests."""

    def __init__(self, hold_first_s: float = 0.0, statuses: tuple[int, ...] = (200,)) -> None:
        self.requests = 0
        self._hold_first_s = hold_first_s
        self._statuses = statuses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                number = self.requests
                if number == 1:
                    await asyncio.sleep(self._hold_first_s)
                status = self._statuses[(number - 1) % len(self._statuses)]
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has closed the connection, or the test has ended
        finally:
            writer.close()


def measure(fake: FakeServer, **options) -> Measurement:
    """Return what the load generator measures with a fake server."""

    async def scenario() -> Measurement:
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        job = Job(port, os.getpid(), **({"warm_up_s": 0, "seconds": 0} | options))
        measurement = await load_generator.measure(job, [b"GET /a HTTP/1.1\r\n\r\n", b"GET /b HTTP/1.1\r\n\r\n"])
        server.close()
        return measurement

    return asyncio.run(scenario())


def test_closed_loop_measures_whole_cycles_and_counts_statuses():
    fake = FakeServer(statuses=(200, 200, 503))
    measurement = measure(fake, requests=["a", "b"], clients=3, min_requests=21)
    assert fake.requests >= 4 * 3 + 22  # the warm-up comes first
    assert len(measurement.latencies_s) == 22  # the first whole cycle of two with at least 21 requests
    assert sum(measurement.statuses.values()) == 22
    assert 6 <= measurement.errors <= 8
    assert measurement.seconds > 0
    assert measurement.rss_kb > 0


def test_closed_loop_counts_lost_connections_as_errors():
    async def scenario() -> Measurement:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        job = Job(port, os.getpid(), ["a"], clients=1, warm_up_s=0, seconds=0, min_requests=5)
        measurement = await load_generator.measure(job, [b"GET /a HTTP/1.1\r\n\r\n"])
        server.close()
        return measurement

    measurement = asyncio.run(scenario())
    assert (measurement.successes, measurement.errors) == (0, 5)


def test_open_loop_adds_a_stall_to_the_latency_of_every_delayed_request():
    # The only connection is held for half a second while fifty requests per second arrive.
    measurement = measure(FakeServer(hold_first_s=0.5), requests=["a", "b"], clients=1, rate=50.0, min_requests=20)
    assert len(measurement.latencies_s) == 20
    assert sum(latency > 0.1 for latency in measurement.latencies_s) >= 5


def test_load_generator_as_a_process_writes_its_measurement(tmp_path):
    file = Path(tmp_path, "request")
    file.write_bytes(b"GET /a HTTP/1.1\r\n\r\n")
    fake, started, finished = FakeServer(), threading.Event(), threading.Event()
    port = []

    async def serve() -> None:
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        started.set()
        while not finished.is_set():
            await asyncio.sleep(0.02)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        options = {"clients": 2, "warm_up_s": 0, "seconds": 0, "min_requests": 10, "keep_bodies": True}
        measurement = load_generator.run_job(Job(port[0], os.getpid(), [str(file)], **options))
    finally:
        finished.set()
        thread.join(30)
    assert (measurement.successes, measurement.errors) == (10, 0)
    assert json.loads(measurement.bodies[str(file)]) == {}
