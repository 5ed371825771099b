"""Whether this instance wants traffic, and why not. Set by those who know, asked by `/readyz`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class State(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


# One failed run may be bad luck; this many in a row, with no success between them, is a broken model or device.
FAILURES_UNTIL_UNHEALTHY = 3


class Readiness:
    """The state of one instance, and a sentence of why it is not ready.

    Draining is final; unhealthy ends with the first model run that succeeds.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.reason = "the model is loading"
        self._failures_in_a_row = 0
        self._is_broken = False
        self._on_drain: set[Callable[[], object]] = set()

    def loaded(self) -> None:
        """The model is loaded, self-tested and warm."""
        self._is_broken = False
        self._failures_in_a_row = 0
        self._move(State.READY, "")

    def broken(self, reason: str) -> None:
        """The instance cannot serve, whatever the next run says; only another model that is loaded heals it."""
        self._is_broken = True
        self._move(State.UNHEALTHY, reason)

    def run_failed(self) -> None:
        """A model run failed for a single face."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_UNTIL_UNHEALTHY and self.state is State.READY:
            self._move(State.UNHEALTHY, f"the last {self._failures_in_a_row} model runs failed")

    def run_succeeded(self) -> None:
        """A model run succeeded."""
        self._failures_in_a_row = 0
        if self.state is State.UNHEALTHY and not self._is_broken:
            self._move(State.READY, "")

    def drain(self) -> None:
        """The process was told to end."""
        self._move(State.DRAINING, "the instance is shutting down")
        for callback in tuple(self._on_drain):
            callback()

    @contextmanager
    def watch_drain(self, callback: Callable[[], object]) -> Iterator[None]:
        """Calls back once the drain begins, from whichever thread or signal handler begins it, until left."""
        self._on_drain.add(callback)
        try:
            yield
        finally:
            self._on_drain.discard(callback)

    def _move(self, state: State, reason: str) -> None:
        if self.state is not State.DRAINING:
            self.state, self.reason = state, reason
