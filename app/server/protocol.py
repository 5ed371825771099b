"""uvicorn's HTTP protocol with what uvicorn does not have: bounds of a request's head, and complete last responses.

`app.api.middleware` bounds bodies; it starts when the head is complete. docs/adr/0009-connection-edges.md has the
reasons, and what each part overrides.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.server.lingering import LingeringTransport
from app.server.upgrades import head_without_upgrade

MAX_HEAD_BYTES = 64 * 1024
# From the start of a connection, or the first byte of a later request, to the end of the head.
HEAD_TIMEOUT_S = 20.0
# A head that does not end is an attack: less of it is discarded than of a body.
MAX_SURPLUS_HEAD_BYTES = 16 * 1024 * 1024
# A caller that closed its sending side may have disconnected. With more requests in progress than the first number its
# work would delay others, so the caller is probed at once, else after the first time. The time doubles for each probe.
_FEW_REQUESTS = 8
_FIRST_PROBE_S, _NEXT_PROBE_S = 0.5, 0.05
# "The client can simply discard this interim response" (RFC 9110, 15.2.1). The kernel of a client that has
# disconnected answers it with a reset.
_PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Close connections whose request head is too large or too slow, and any connection only after its last response.

    Bytes after a body that are neither a body nor a head, such as trailers, count as a head too.
    """

    _in_head = False
    _head_began = False
    _head_bytes = 0
    _upgrade_waits = False
    _timer: asyncio.TimerHandle | None = None  # of the head
    _probe_timer: asyncio.TimerHandle | None = None
    _lingering: LingeringTransport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        self._lingering = LingeringTransport(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._lingering))
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_timer()
        self._lingering.end_surplus()
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and refuse a head that does not end."""
        self._lingering.discard(len(data))
        if self._lingering.is_lingering:
            return
        self._head_began = False
        self._parse(data)
        if self.transport.is_closing() or self.parser is None:  # closed, or upgraded to a WebSocket
            return
        if not self._head_began:  # the data in which a head began may hold the request before it too
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._lingering.max_surplus_bytes = MAX_SURPLUS_HEAD_BYTES
            self.send_400_response("The head of the request, or the data after its body, is too large.")
        elif self._in_head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._lingering.wrapped.close)
        elif not self._in_head and self._is_answered() and self.timeout_keep_alive_task is None:
            # The data was not a request. uvicorn has stopped its keep-alive timer for it.
            self._restart_keep_alive()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a caller that has closed its sending side, unless it has disconnected.

        Returns:
            False to close the connection.
        """
        self._lingering.has_eof = True
        if self.transport.is_closing() or self._upgrade_waits or self.cycle is None or self._in_head:
            return False
        if self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        is_busy = len(self.tasks) > _FEW_REQUESTS
        if self.scope["http_version"] == "1.0":  # such a client may not receive an interim response
            return not is_busy
        self._probe_timer = self.loop.call_later(0 if is_busy else _FIRST_PROBE_S, self._probe, _NEXT_PROBE_S)
        return True

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, after the responses to earlier requests."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._upgrade_waits = True
            self.flow.pause_reading()
            return
        self._upgrade_waits = False
        self._unset_keepalive_if_required()
        self.transport = self._lingering.wrapped
        super().handle_websocket_upgrade()
        protocol: Any = self.transport.get_protocol()
        if protocol.handshake_initiated or self.transport.is_closing():
            self.parser = None  # type: ignore[assignment]  # the parser refers to this protocol: a cycle
            return
        # The WebSocket library ignores heads that it cannot parse, such as one that announces a body.
        self.connections.discard(protocol)
        self.connections.add(self)
        self.transport.set_protocol(self)
        self.transport = cast(asyncio.Transport, self._lingering)
        self.send_400_response("The head of the WebSocket handshake is invalid. It must be a GET without a body.")

    def shutdown(self) -> None:
        """Close an idle connection. A request that is arriving is answered first, and a refused body discarded."""
        if self._in_head:
            return
        super().shutdown()
        if self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body):
            self._lingering.wrapped.close()

    def on_message_begin(self) -> None:
        """Start a head."""
        self._in_head = self._head_began = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head. A head that offers another protocol than WebSocket is parsed again without the offer."""
        self._in_head = False
        self._stop_timer()
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1
        if not self.parser.should_upgrade() or self._should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of a body. Chunk sizes and trailers are counted from here."""
        self._head_began, self._head_bytes = True, 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a body."""
        if self.parser.should_upgrade():
            return
        if not self._lingering.is_lingering:
            self._lingering.end_surplus()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, or bound the rest of a body that was answered before its end."""
        super().on_response_complete()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return
        if self._upgrade_waits:
            self.handle_websocket_upgrade()
        elif self.cycle.more_body:
            self._lingering.bound_surplus()

    def _parse(self, data: bytes) -> None:
        if self._upgrade_waits:  # a client must not send data before the response to its handshake
            self.transport.close()
            return
        self._unset_keepalive_if_required()
        try:
            self._feed(memoryview(data))
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def _feed(self, data: memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                elif self.parser.get_method() == b"CONNECT":
                    self.send_400_response("The method CONNECT is not supported.")
                else:
                    self._parse_head_without_upgrade()
                    data = data[upgrade.args[0] :]
                    continue
            return

    def _parse_head_without_upgrade(self) -> None:
        head = head_without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # like uvicorn's parser
        self.parser.feed_data(head)

    def _probe(self, next_s: float) -> None:
        """Send an interim response, which a client that has disconnected answers with a reset."""
        if self.pipeline or self.cycle.response_started or self.transport.is_closing():
            return  # the response itself detects a client that has disconnected
        self.transport.write(_PROBE)
        self._probe_timer = self.loop.call_later(next_s, self._probe, 2 * next_s)

    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _restart_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
