"""Readiness: what moves an instance from state to state."""

from __future__ import annotations

from app.engine.readiness import FAILURES_UNTIL_UNHEALTHY, Readiness, State


def ready() -> Readiness:
    readiness = Readiness()
    readiness.loaded()
    return readiness


def test_readiness_begins_starting_and_becomes_ready():
    readiness = Readiness()
    assert readiness.state is State.STARTING
    assert readiness.reason
    readiness.loaded()
    assert readiness.state is State.READY


def test_run_failed_in_a_row_is_unhealthy_until_a_success():
    readiness = ready()
    for _ in range(FAILURES_UNTIL_UNHEALTHY):
        assert readiness.state is State.READY
        readiness.run_failed()
    assert readiness.state is State.UNHEALTHY
    assert str(FAILURES_UNTIL_UNHEALTHY) in readiness.reason
    readiness.run_succeeded()
    assert readiness.state is State.READY


def test_run_failed_with_successes_between_stays_ready():
    readiness = ready()
    for _ in range(10):
        readiness.run_failed()
        readiness.run_succeeded()
    assert readiness.state is State.READY


def test_drain_is_final():
    readiness = ready()
    readiness.drain()
    readiness.loaded()
    readiness.broken("x")
    readiness.run_succeeded()
    assert readiness.state is State.DRAINING


def test_broken_is_not_healed_by_a_run_that_succeeds_but_by_another_model():
    readiness = ready()
    readiness.broken("the batch loop died")
    readiness.run_succeeded()
    assert (readiness.state, readiness.reason) == (State.UNHEALTHY, "the batch loop died")
    readiness.loaded()
    assert readiness.state is State.READY
    for _ in range(FAILURES_UNTIL_UNHEALTHY):
        readiness.run_failed()
    readiness.run_succeeded()
    assert readiness.state is State.READY
