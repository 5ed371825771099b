"""uvicorn's HTTP protocol with bounds that uvicorn does not have: the size of a request's head, and its time.

`app.api.middleware` bounds bodies; it starts when the head is complete.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
# From the start of a connection, or the first byte of a later request, to the end of the head.
HEAD_TIMEOUT_S = 20.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """Close connections whose request head is too large or too slow.

    Bytes after a body that are neither a body nor a head, such as trailers, count as a head too.
    """

    _in_head = True
    _head_began = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and refuse a head that does not end."""
        self._head_began = False
        super().data_received(data)
        if self.transport.is_closing() or self.parser is None:  # closed, or upgraded to a WebSocket
            return
        if not self._head_began:  # the data in which a head began may hold the request before it too
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The head of the request, or the data after its body, is too large.")
        elif self._in_head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)
        elif not self._in_head and self._is_answered() and self.timeout_keep_alive_task is None:
            # The data was not a request. uvicorn has stopped its keep-alive timer for it.
            self._restart_keep_alive()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol."""
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # the parser refers to this protocol: a cycle

    def on_message_begin(self) -> None:
        """Start a head."""
        self._in_head = self._head_began = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> Any:
        """End a head."""
        self._in_head = False
        self._stop_timer()
        return super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of a body. Chunk sizes and trailers are counted from here."""
        self._head_began, self._head_bytes = True, 0
        super().on_body(body)

    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _restart_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
