"""uvicorn's WebSocket protocol with bounds of a message that is arriving, and close codes that arrive.

The bounds are the memory and the time of the message. A client that is still sending receives the close code too.

`app.api.stream` sees a message when it is complete. Until then only the protocol knows how much of it is in memory.
docs/adr/0009-connection-edges.md has the reasons, and what this overrides.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.api.admission import Admission
from app.errors import FerError
from app.server.lingering import LingeringTransport

_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013  # RFC 6455, 7.4.1, and IANA's registry of close codes
_MAX_REASON_CHARACTERS = 120  # RFC 6455, 5.5: 123 bytes


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Close streams whose message does not fit into the memory, or does not arrive in time.

    Args:
        admission: Counts the memory.
        message_timeout_s: Longest time from the first to the last byte of a message, in seconds.
        options: Arguments of uvicorn.
    """

    def __init__(self, *, admission: Admission, message_timeout_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._memory = admission.hold_bytes()
        self._message_timeout_s = message_timeout_s
        self._arrived_bytes = 0
        self._message_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection. Its transport closes in stages."""
        self._lingering = LingeringTransport(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, self._lingering))

    def data_received(self, data: bytes) -> None:
        """Count and parse data."""
        self._lingering.discard(len(data))
        if self._lingering.is_lingering:
            return
        self._arrived_bytes += len(data)
        super().data_received(data)
        if self.close_sent or self.transport.is_closing() or not self._is_message_incomplete():
            self._end_message()
            return
        try:
            self._memory.hold(self._arrived_bytes)
        except FerError as error:
            self._refuse(_TRY_AGAIN_LATER, error.detail)
        else:
            if self._message_timer is None:
                reason = f"a message must arrive within {self._message_timeout_s:g} s"
                self._message_timer = self.loop.call_later(
                    self._message_timeout_s, self._refuse, _POLICY_VIOLATION, reason
                )

    def send_receive_event_to_app(self) -> None:
        """Pass on a complete message. `app.api.stream` counts its memory from here on."""
        self._end_message()
        super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the memory back."""
        self._end_message()
        self._lingering.end_surplus()
        super().connection_lost(exc)

    def _is_message_incomplete(self) -> bool:
        return bool(self.frames) or bool(self.conn.reader.buffer)

    def _end_message(self) -> None:
        self._arrived_bytes = 0
        self._memory.release()
        if self._message_timer is not None:
            self._message_timer.cancel()
            self._message_timer = None

    def _refuse(self, code: int, reason: str) -> None:
        self._end_message()
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(code, reason[:_MAX_REASON_CHARACTERS])
            self.handle_parser_exception()
