"""Admission: the permits, the counters and the load-shedding policy of one instance.

Every transport calls `Admission.acquire` once for a request or a frame, before it reads the body. No other module reads
or changes the state of the admission.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from app.api.byte_budget import ByteBudget, HeldBytes
from app.errors import ErrorCode, FerError

# Longest expected wait, as a share of the deadline. A burst may fill the queue up to the first share. A backlog that
# persists for as long as such a burst takes is overload, and is kept short: admitted requests are then answered early,
# and with the default deadline the backlog is gone within a second after the overload.
# Source: Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (adaptive LIFO and CoDel).
BURST_SHARE = 0.6
BACKLOG_SHARE = 0.15
# Share of the permits that bulk work may hold, so that other work finds a free permit.
BULK_PERMITS_SHARE = 0.75
# WebSocket streams that may wait for the message with their API key at once: a caller without a key may send megabytes
# in it.
MAX_UNAUTHENTICATED_STREAMS = 32


class Queues(Protocol):
    """The queues in front of the model; `app.engine.engine.Engine` is the implementation."""

    def expected_wait_s(self, size_bytes: float, bulk: bool) -> float:
        """Return the expected wait of an image file of a size, in seconds; raises `not_ready` without a model."""

    def backlog_age_s(self, size_bytes: float, bulk: bool) -> float:
        """Return for how long the queue of a file size has not been empty, in seconds."""


class Permit(HeldBytes):
    """The right to one answer, and the memory for its body. A context manager: the end of the block releases both.

    Args:
        check_wait: Refuses a file size (bytes) that would wait too long.
        on_release: Called by the first `release`.
        budget: Memory for bodies.
    """

    def __init__(self, check_wait: Callable[[float], None], on_release: Callable[[], None], budget: ByteBudget) -> None:
        super().__init__(budget)
        self._check_wait = check_wait
        self._on_release: Callable[[], None] | None = on_release

    def __enter__(self) -> Permit:
        """Return the permit."""
        return self

    def __exit__(self, *error: object) -> None:
        """Release the permit."""
        self.release()

    def release(self) -> None:
        """Give the permit and the memory back. Further calls have no effect."""
        super().release()
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release()

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
        max_per_caller: Largest number of permits of one caller; None for no limit.
        max_bytes: Largest number of bytes of bodies in memory at once.
    """

    def __init__(
        self,
        queues: Queues,
        max_queue: int,
        deadline_s: float,
        max_per_caller: int | None = None,
        max_bytes: float = math.inf,
    ) -> None:
        self._queues = queues
        self._max_queue = max_queue
        self._max_bulk = max(1, int(max_queue * BULK_PERMITS_SHARE))
        self._deadline_s = deadline_s
        self._max_per_caller = max_per_caller
        self._budget = ByteBudget(max_bytes)
        self._permits = 0
        self._bulk_permits = 0
        self._permits_of: Counter[str] = Counter()
        self._streams = 0
        self._unauthenticated_streams = 0

    @property
    def permits(self) -> int:
        """Number of permits that requests and frames hold."""
        return self._permits

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that requests and frames hold."""
        return self._budget.held_bytes

    def acquire(
        self, size_bytes: float, *, bulk: bool = False, timeout_s: float = math.inf, caller: str = ""
    ) -> Permit:
        """Return one permit, which the caller releases. It holds no memory yet; see `Permit.hold`.

        Args:
            size_bytes: Size of the body; infinite if it is unknown.
            bulk: Whether the work waits behind other work and is refused before it.
            timeout_s: How long the caller waits for the response, in seconds.
            caller: The caller's API key; empty without keys, then no limit per caller applies.

        Raises:
            FerError: `not_ready`; or `overloaded`: all permits are held, or the expected wait is too long.
        """

        def check_wait(size_bytes: float) -> None:
            self._check_wait(size_bytes, bulk, timeout_s)

        check_wait(size_bytes)
        self._check_permits(bulk, caller)
        self._permits += 1
        self._bulk_permits += bulk
        self._permits_of[caller] += 1
        return Permit(check_wait, lambda: self._release(bulk, caller), self._budget)

    def hold_bytes(self) -> HeldBytes:
        """Return an account for a message that is in memory before it needs a permit. It holds nothing yet."""
        return HeldBytes(self._budget)

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

    def _release(self, bulk: bool, caller: str) -> None:
        self._permits -= 1
        self._bulk_permits -= bulk
        self._permits_of[caller] -= 1
        if not self._permits_of[caller]:
            del self._permits_of[caller]

    def _check_permits(self, bulk: bool, caller: str) -> None:
        if self._permits >= self._max_queue or (bulk and self._bulk_permits >= self._max_bulk):
            kind, held = ("bulk requests", self._bulk_permits) if bulk else ("requests", self._permits)
            raise FerError(ErrorCode.OVERLOADED, f"{held} {kind} are in progress already; try again shortly")
        if caller and self._max_per_caller is not None and self._permits_of[caller] >= self._max_per_caller:
            raise FerError(
                ErrorCode.OVERLOADED,
                f"{self._max_per_caller} requests with this API key are in progress already; try again shortly",
            )

    def _check_wait(self, size_bytes: float, bulk: bool, timeout_s: float) -> None:
        wait_s = self._queues.expected_wait_s(size_bytes, bulk)
        if wait_s <= min(BACKLOG_SHARE * self._deadline_s, timeout_s):
            return
        # Bulk work is refused first: no burst of it fills the queue.
        is_backlog = bulk or self._queues.backlog_age_s(size_bytes, bulk) > BURST_SHARE * self._deadline_s
        longest_s = min(self._deadline_s * (BACKLOG_SHARE if is_backlog else BURST_SHARE), timeout_s)
        if wait_s > longest_s:
            raise FerError(
                ErrorCode.OVERLOADED,
                f"this request would wait for {wait_s:.1f} s and at most {longest_s:.1f} s is accepted;"
                " try again shortly",
            )
