"""Callers that cost little beside the service that they call: prepared bytes over kept-alive connections."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ANSWER_WITHIN_S = 60


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: 0 where the connection was lost.
        seconds: From the sending to the end of the answer.
        sent: When it was sent, by `time.perf_counter()`.
        headers: The head of the answer, lower case.
        body: The rest.
    """

    status: int
    seconds: float
    sent: float
    headers: bytes = b""
    body: bytes = b""

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def post(path: str, body: bytes, content_type: str = "image/jpeg", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = bytearray()
        self._length: int | None = None
        self.answered: asyncio.Future[tuple[int, bytes, bytes]] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._length is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            at = head.find(b"content-length:")
            self._length = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else end + 4
        if len(self._received) >= self._length:
            head, _, body = bytes(self._received[: self._length]).partition(b"\r\n\r\n")
            del self._received[: self._length]
            self._length = None
            if self.answered is not None and not self.answered.done():
                self.answered.set_result((int(head[9:12]), head.lower(), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(ConnectionError("closed before the answer"))


class Callers:
    """Any number of callers of one service; each request has a connection for itself until it is answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[_Connection] = deque()

    async def ask(self, request: bytes) -> Answer:
        """Sends a request; never raises for what becomes of it."""
        loop = asyncio.get_running_loop()
        sent = time.perf_counter()
        try:
            connection = self._take() or (await loop.create_connection(_Connection, "127.0.0.1", self._port))[1]
            assert connection.transport is not None
            connection.answered = loop.create_future()
            sent = time.perf_counter()
            connection.transport.write(request)
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                status, headers, body = await connection.answered
        except (OSError, TimeoutError):
            return Answer(0, time.perf_counter() - sent, sent)
        if b"connection: close" not in headers:
            self._idle.append(connection)
        return Answer(status, time.perf_counter() - sent, sent, headers, body)

    async def abandon(self, request: bytes, after_s: float) -> None:
        """Sends a request and closes the connection before it is answered."""
        connection = (await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port))[1]
        assert connection.transport is not None
        connection.transport.write(request)
        await asyncio.sleep(after_s)
        connection.transport.close()

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        self._idle.clear()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None


async def closed_loop(callers: Callers, requests: Iterator[bytes], workers: int, seconds: float) -> list[Answer]:
    """So many callers, each sending its next request when the last was answered."""
    answers: list[Answer] = []
    end = time.perf_counter() + seconds

    async def work() -> None:
        while time.perf_counter() < end:
            answers.append(await callers.ask(next(requests)))

    await asyncio.gather(*(work() for _ in range(workers)))
    return answers


async def open_loop(callers: Callers, requests: Iterator[bytes], rate: float, seconds: float) -> list[Answer]:
    """Sends at a rate, whatever becomes of the requests before, and waits for all answers."""
    started = time.perf_counter()
    asked: list[asyncio.Task[Answer]] = []
    while (now := time.perf_counter() - started) < seconds:
        due = int(now * rate) + 1 - len(asked)
        asked += [asyncio.create_task(callers.ask(next(requests))) for _ in range(due)]
        await asyncio.sleep(max(0.0005, len(asked) / rate - (time.perf_counter() - started)))
    return list(await asyncio.gather(*asked))


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of the values lies; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
