"""uvicorn's HTTP protocol with bounds for a request's head, which it has none for: its size, and the time it takes.

Bodies are bounded by `app.api.middleware`, which only begins when the head is there. A request that is turned away by
its head (`app.api.door`) is answered here, and its body dropped as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# Method, target, headers and the body's length of a request; gives the answer to one that is turned away.
RequestDoor = Callable[[bytes, bytes, Sequence[tuple[bytes, bytes]], int], Response | None]

MAX_HEAD_BYTES = 64 * 1024
# From the opening of a connection, or the first byte of a later request, to the end of the head.
HEAD_WITHIN_S = 20.0
_LENGTH_DIGITS = 20  # the parser knows no greater length, only more zeros before it; Python converts no endless rows


def protocol_with(door: RequestDoor) -> type[FrontProtocol]:
    """The protocol, for uvicorn's `http`.

    Args:
        door: Asked about every request whose body's length is known, before anything is built for it.
    """

    class FrontProtocolWithDoor(FrontProtocol):
        _door = staticmethod(door)

    return FrontProtocolWithDoor


class FrontProtocol(HttpToolsProtocol):
    """Closes connections whose next request never takes shape, and turns requests away."""

    _door: RequestDoor
    _in_head = True
    _head_began = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    # Of the request that was turned away: whether the parser is in it, and how much of its body is still to come.
    _turned_away = False
    _unwanted_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock of the first head runs."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuses a head that does not end, and drops what nobody wants."""
        if self._unwanted_bytes:
            data = self._drop(data)
            if not data:
                return
        self._head_began = False
        super().data_received(data)
        if self._unwanted_bytes:
            self.parser = self._new_parser()  # which never sees the rest: it would copy it
        if self.transport.is_closing() or self.parser is None:  # it is another protocol's now
            return
        if not self._head_began:  # of the bytes in which it began, nobody knows how many are of what was before it
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The head of the request, or what follows its body, is too large.")
        elif self._in_head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)
        elif not self._in_head and self._is_answered() and self.timeout_keep_alive_task is None:
            self._await_next()  # what came was neither a request nor a reason to wait for one without end

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over, for good."""
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # as when a connection is lost: each would keep the other

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = self._head_began = True
        self._head_bytes = 0
        self._turned_away = False
        super().on_message_begin()

    def on_headers_complete(self) -> Any:
        """A head has ended."""
        self._in_head = False
        self._stop_clock()
        length = self._plain_length()
        if length is None:
            return super().on_headers_complete()
        answer = self._door(self.parser.get_method(), self.url, self.headers, length)
        if answer is None:
            return super().on_headers_complete()
        self._turned_away, self._unwanted_bytes = True, length
        head = [STATUS_LINE[answer.status_code]]
        for name, value in (*self.server_state.default_headers, *answer.raw_headers):
            head += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*head, b"\r\n", answer.body)))
        self.server_state.total_requests += 1
        self._await_next()
        return None

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._head_began, self._head_bytes = True, 0  # trailers, and the sizes of chunks, are counted from here
        if self._turned_away:
            self._unwanted_bytes -= len(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A body has ended."""
        if not self._turned_away:
            super().on_message_complete()

    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _plain_length(self) -> int | None:
        """The length of the body, where the answer can be given at once and the connection kept; else None."""
        is_busy = self.flow.write_paused or (self.cycle is not None and not self.cycle.response_complete)
        if is_busy or self.expect_100_continue or self.parser.should_upgrade() or not self.parser.should_keep_alive():
            return None
        lengths = [value for name, value in self.headers if name == b"content-length"]
        is_plain = len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= _LENGTH_DIGITS
        return int(lengths[0]) if is_plain else None

    def _drop(self, data: bytes) -> bytes:
        """What of the data is after the body that nobody wants."""
        dropped = min(self._unwanted_bytes, len(data))
        self._unwanted_bytes -= dropped
        if not self._unwanted_bytes:
            self._await_next()
        return data[dropped:]

    def _await_next(self) -> None:
        """For as long as idle connections are kept: for the rest of a body, then for the next request."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        return parser

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
