"""Readiness: the transitions between the states of an instance."""

from __future__ import annotations

from app.engine.readiness import FAILURES_UNTIL_UNHEALTHY, Readiness, State


def make_ready() -> Readiness:
    readiness = Readiness()
    readiness.loaded()
    return readiness


def test_readiness_is_starting_until_a_model_is_loaded():
    readiness = Readiness()
    assert readiness.state is State.STARTING
    assert readiness.reason
    readiness.loaded()
    assert readiness.state is State.READY


def test_failed_runs_in_a_row_are_unhealthy_until_a_run_succeeds():
    readiness = make_ready()
    for _ in range(FAILURES_UNTIL_UNHEALTHY):
        assert readiness.state is State.READY
        readiness.run_failed()
    assert readiness.state is State.UNHEALTHY
    assert str(FAILURES_UNTIL_UNHEALTHY) in readiness.reason
    readiness.run_succeeded()
    assert readiness.state is State.READY


def test_failed_runs_between_successful_runs_are_ready():
    readiness = make_ready()
    for _ in range(10):
        readiness.run_failed()
        readiness.run_succeeded()
    assert readiness.state is State.READY


def test_drain_is_final():
    readiness = make_ready()
    readiness.drain()
    readiness.loaded()
    readiness.broken("the batch loop died")
    readiness.run_succeeded()
    assert readiness.state is State.DRAINING


def test_broken_ends_with_another_model_and_not_with_a_successful_run():
    readiness = make_ready()
    readiness.broken("the batch loop died")
    readiness.run_succeeded()
    assert (readiness.state, readiness.reason) == (State.UNHEALTHY, "the batch loop died")
    readiness.loaded()
    assert readiness.state is State.READY
    for _ in range(FAILURES_UNTIL_UNHEALTHY):
        readiness.run_failed()
    readiness.run_succeeded()
    assert readiness.state is State.READY
