"""Admission: the permits, the counters and the load-shedding policy of one instance.

Every transport calls `Admission.acquire` once for a request or a frame, before it reads the body. No other module reads
or changes the state of the admission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from app.errors import ErrorCode, FerError

# Longest expected wait, as a share of the deadline. A burst may fill the queue up to the first share. A backlog that
# persists for as long as such a burst takes is overload, and is kept short: admitted requests are then answered early,
# and with the default deadline the backlog is gone within a second after the overload.
# Source: Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (adaptive LIFO and CoDel).
BURST_SHARE = 0.6
BACKLOG_SHARE = 0.15
# WebSocket streams that may wait for the message with their API key at once: a caller without a key may send megabytes
# in it.
MAX_UNAUTHENTICATED_STREAMS = 32


class Queues(Protocol):
    """The queues in front of the model; `app.engine.engine.Engine` is the implementation."""

    def expected_wait_s(self, size_bytes: float) -> float:
        """Return the expected wait of an image file of a size, in seconds; raises `not_ready` without a model."""

    def backlog_age_s(self, size_bytes: float) -> float:
        """Return for how long the queue of a file size has not been empty, in seconds."""


class Permit:
    """The right to one answer.

    Args:
        check_wait: Refuses a file size (bytes) that would wait too long.
    """

    def __init__(self, check_wait: Callable[[float], None]) -> None:
        self._check_wait = check_wait

    def confirm(self, size_bytes: float) -> None:
        """Check the expected wait again, once a body has arrived in pieces: the queue may have grown meanwhile.

        Args:
            size_bytes: Size of the body that arrived.

        Raises:
            FerError: `overloaded`.
        """
        self._check_wait(size_bytes)


class Admission:
    """Give permits to requests, frames and streams, or refuse them under load.

    Call all methods on one event loop.

    Args:
        queues: The queues that a request would join.
        max_queue: Largest number of permits, and of open streams.
        deadline_s: Longest time from admission to the response, in seconds.
    """

    def __init__(self, queues: Queues, max_queue: int, deadline_s: float) -> None:
        self._queues = queues
        self._max_queue = max_queue
        self._deadline_s = deadline_s
        self._permits = 0
        self._streams = 0
        self._unauthenticated_streams = 0

    @property
    def permits(self) -> int:
        """Number of permits that requests and frames hold."""
        return self._permits

    @contextmanager
    def acquire(self, size_bytes: float) -> Iterator[Permit]:
        """Hold one permit.

        Args:
            size_bytes: Size of the body; infinite if it is unknown.

        Raises:
            FerError: `not_ready`; or `overloaded`: all permits are held, or the expected wait is too long.
        """
        self._check_wait(size_bytes)
        if self._permits >= self._max_queue:
            raise FerError(
                ErrorCode.OVERLOADED, f"{self._max_queue} requests are in progress already; try again shortly"
            )
        self._permits += 1
        try:
            yield Permit(self._check_wait)
        finally:
            self._permits -= 1

    @contextmanager
    def open_stream(self) -> Iterator[None]:
        """Hold the place of one open stream. Each of its frames needs a permit besides.

        Raises:
            FerError: `overloaded`.
        """
        if self._streams >= self._max_queue:
            raise FerError(ErrorCode.OVERLOADED, f"{self._max_queue} streams are open already; try again shortly")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @contextmanager
    def await_key(self) -> Iterator[None]:
        """Hold the place of one stream that has not sent its API key yet.

        Raises:
            FerError: `overloaded`.
        """
        if self._unauthenticated_streams >= MAX_UNAUTHENTICATED_STREAMS:
            raise FerError(
                ErrorCode.OVERLOADED,
                f"{MAX_UNAUTHENTICATED_STREAMS} streams have not sent their API key yet; try again shortly",
            )
        self._unauthenticated_streams += 1
        try:
            yield
        finally:
            self._unauthenticated_streams -= 1

    def _check_wait(self, size_bytes: float) -> None:
        wait_s = self._queues.expected_wait_s(size_bytes)
        if wait_s <= BACKLOG_SHARE * self._deadline_s:
            return
        is_backlog = self._queues.backlog_age_s(size_bytes) > BURST_SHARE * self._deadline_s
        longest_s = self._deadline_s * (BACKLOG_SHARE if is_backlog else BURST_SHARE)
        if wait_s > longest_s:
            raise FerError(
                ErrorCode.OVERLOADED,
                f"this request would wait for {wait_s:.1f} s and at most {longest_s:.1f} s is accepted;"
                " try again shortly",
            )
