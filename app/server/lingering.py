"""Close connections in stages, so that the last response arrives.

If a server closes a connection while data of the client is unread or on its way, the kernel resets the connection, and
the reset can destroy the response before the client has read it. The connection is therefore closed for writing first.
What still arrives is read and discarded, within bounds, until the client closes its side.

Reference:
    RFC 9112, 9.6.
"""

from __future__ import annotations

import asyncio
from typing import Any

# Bounds of what is discarded after a response. The pause is between two parts of the data.
# Source of the times: nginx's defaults for `lingering_time` and `lingering_timeout`.
MAX_SURPLUS_BYTES = 128 * 1024 * 1024
MAX_SURPLUS_S = 30.0
MAX_PAUSE_S = 5.0


class LingeringTransport:
    """The transport of a connection, whose `close` closes in stages. Everything else is delegated.

    Args:
        transport: Transport of the connection.
        loop: Event loop of the connection.

    Attributes:
        wrapped: Transport of the connection.
        is_lingering: True from `close` on. Data that arrives must only be passed to `discard`.
        max_surplus_bytes: Bound of the data that is discarded.
        has_eof: The client has closed its side for writing, so that nothing can arrive any more.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.wrapped = transport
        self.is_lingering = False
        self.has_eof = False
        self.max_surplus_bytes = MAX_SURPLUS_BYTES
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._bytes = self._bytes_before = 0
        self._end_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def write(self, data: bytes) -> None:
        """Send data. After `close` it is discarded, as any transport does: a request may still be in progress."""
        if not self.is_lingering:
            self.wrapped.write(data)

    def is_closing(self) -> bool:
        """Return whether the connection is closed for writing."""
        return self.is_lingering or self.wrapped.is_closing()

    def close(self) -> None:
        """Close the connection for writing after the data that is buffered, and discard what arrives from now on."""
        if self.is_closing():
            return
        if self.has_eof or not self.wrapped.can_write_eof():
            self.wrapped.close()
            return
        self.is_lingering = True
        self.wrapped.write_eof()
        self.wrapped.resume_reading()
        self.bound_surplus()

    def bound_surplus(self) -> None:
        """Close the connection if what is discarded from now on exceeds a bound."""
        if self._timer is None:
            self._bytes = self._bytes_before = 0
            self._end_s = self._loop.time() + MAX_SURPLUS_S
            self._timer = self._loop.call_later(MAX_PAUSE_S, self._check)

    def discard(self, size_bytes: int) -> None:
        """Count data that is discarded. Without a preceding `bound_surplus` or `close` this does nothing."""
        self._bytes += size_bytes
        if self._timer is not None and self._bytes > self.max_surplus_bytes:
            self._give_up()

    def end_surplus(self) -> None:
        """End the bound: nothing more is discarded, or the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        if self._bytes == self._bytes_before or self._loop.time() > self._end_s:
            self._give_up()
        else:
            self._bytes_before = self._bytes
            self._timer = self._loop.call_later(MAX_PAUSE_S, self._check)

    def _give_up(self) -> None:
        self.end_surplus()
        self.wrapped.close()
