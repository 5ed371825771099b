"""HTTP client and load generators of the stress tests: prepared bytes over kept-alive connections."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.http_client import Connection

_RESPONSE_TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """The response to one request.

    Attributes:
        status: Status code; 0 if the connection was lost or no response came in time.
        seconds: Time from sending the request to the end of the response.
        sent: Time at which the request was sent, by `time.perf_counter()`.
        headers: Header values by lower-case name.
        body: Response body.
    """

    status: int
    seconds: float
    sent: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)


def post(path: str, body: bytes, content_type: str = "image/jpeg", headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Client:
    """Client with as many connections as requests in flight; it reuses idle connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[Connection] = deque()

    async def send(self, request: bytes) -> Answer:
        """Send a request and return the answer. Connection errors become the status 0."""
        sent = time.perf_counter()
        try:
            connection = self._take_idle() or await Connection.open(self._port)
            sent = time.perf_counter()
            async with asyncio.timeout(_RESPONSE_TIMEOUT_S):
                response = await connection.send(request)
        except (OSError, TimeoutError):
            return Answer(0, time.perf_counter() - sent, sent)
        if response.keep_alive:
            self._idle.append(connection)
        return Answer(response.status, time.perf_counter() - sent, sent, response.headers, response.body)

    async def abandon(self, request: bytes, after_s: float) -> None:
        """Send a request and close the connection before the response."""
        connection = await Connection.open(self._port)
        connection.write(request)
        await asyncio.sleep(after_s)
        connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None


async def closed_loop(client: Client, requests: Iterator[bytes], workers: int, seconds: float) -> list[Answer]:
    """Run workers that each send the next request after the answer to the previous one."""
    answers: list[Answer] = []
    end = time.perf_counter() + seconds

    async def work() -> None:
        while time.perf_counter() < end:
            answers.append(await client.send(next(requests)))

    await asyncio.gather(*(work() for _ in range(workers)))
    return answers


async def open_loop(client: Client, requests: Iterator[bytes], rate: float, seconds: float) -> list[Answer]:
    """Send requests at a constant rate, independent of the answers, and wait for all answers."""
    started = time.perf_counter()
    tasks: list[asyncio.Task[Answer]] = []
    while (now := time.perf_counter() - started) < seconds:
        due = int(now * rate) + 1 - len(tasks)
        tasks += [asyncio.create_task(client.send(next(requests))) for _ in range(due)]
        await asyncio.sleep(max(0.0005, len(tasks) / rate - (time.perf_counter() - started)))
    return list(await asyncio.gather(*tasks))


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies; 0 for an empty list."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
