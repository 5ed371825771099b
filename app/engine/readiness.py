"""Whether this instance accepts traffic, and the reason if not. `/readyz` reports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class State(StrEnum):
    """State of an instance."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


# A single failed run may be caused by its input. Three in a row, without a success between them, are a broken model or
# device.
FAILURES_UNTIL_UNHEALTHY = 3


class Readiness:
    """State of one instance, with the reason if it is not ready.

    `draining` is final. `unhealthy` ends with the first model run that succeeds.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.reason = "the model is loading"
        self._failures_in_a_row = 0
        self._is_broken = False
        self._on_drain: set[Callable[[], object]] = set()

    def loaded(self) -> None:
        """Record that a model is loaded, self-tested and warm."""
        self._is_broken = False
        self._failures_in_a_row = 0
        self._move(State.READY, "")

    def broken(self, reason: str) -> None:
        """Record that the instance cannot serve. Only a newly loaded model ends this state."""
        self._is_broken = True
        self._move(State.UNHEALTHY, reason)

    def run_failed(self) -> None:
        """Record that a model run failed for a single face."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_UNTIL_UNHEALTHY and self.state is State.READY:
            self._move(State.UNHEALTHY, f"the last {self._failures_in_a_row} model runs failed")

    def run_succeeded(self) -> None:
        """Record that a model run succeeded."""
        self._failures_in_a_row = 0
        if self.state is State.UNHEALTHY and not self._is_broken:
            self._move(State.READY, "")

    def drain(self) -> None:
        """Record that the process received the signal to end."""
        self._move(State.DRAINING, "the instance is shutting down")
        for callback in tuple(self._on_drain):
            callback()

    @contextmanager
    def watch_drain(self, callback: Callable[[], object]) -> Iterator[None]:
        """Call a function when the drain begins, in the thread or signal handler that begins it, until the exit."""
        self._on_drain.add(callback)
        try:
            yield
        finally:
            self._on_drain.discard(callback)

    def _move(self, state: State, reason: str) -> None:
        if self.state is not State.DRAINING:
            self.state, self.reason = state, reason
