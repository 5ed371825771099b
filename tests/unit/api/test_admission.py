"""Admission: permits, places of streams, and limits of the expected wait."""

from __future__ import annotations

import math
from contextlib import ExitStack

import pytest

from app.api.admission import BACKLOG_SHARE, BURST_SHARE, MAX_UNAUTHENTICATED_STREAMS, Admission
from app.errors import ErrorCode, FerError

DEADLINE_S = 2.0
BURST_S, BACKLOG_S = BURST_SHARE * DEADLINE_S, BACKLOG_SHARE * DEADLINE_S


class FakeQueues:
    """Fake of the queues in front of the model.

    Attributes:
        wait_s: Expected wait of a file of any size; an exception is raised.
        age_s: Backlog age for a file of any size.
        sizes: Sizes whose wait was estimated, in bytes.
    """

    def __init__(self, wait_s: float | Exception = 0.0, age_s: float = 0.0) -> None:
        self.wait_s = wait_s
        self.age_s = age_s
        self.sizes: list[float] = []

    def expected_wait_s(self, size_bytes: float, bulk: bool) -> float:
        self.sizes.append(size_bytes)
        if isinstance(self.wait_s, Exception):
            raise self.wait_s
        return self.wait_s

    def backlog_age_s(self, size_bytes: float, bulk: bool) -> float:
        assert size_bytes == self.sizes[-1]
        return self.age_s


def make_admission(queues: FakeQueues | None = None, max_queue: int = 2) -> Admission:
    return Admission(queues or FakeQueues(), max_queue, DEADLINE_S)


def assert_overloaded(acquire, detail: str) -> None:
    """Assert that a function, which returns a context, refuses."""
    with pytest.raises(FerError) as refused, acquire():
        pass
    assert refused.value.code == ErrorCode.OVERLOADED
    assert detail in refused.value.detail


def test_acquire_gives_at_most_max_queue_permits():
    admission = make_admission(max_queue=2)
    with admission.acquire(1):
        with admission.acquire(1):
            assert admission.permits == 2
            assert_overloaded(lambda: admission.acquire(1), "2 requests are in progress")
            assert admission.permits == 2
        assert admission.permits == 1
        with admission.acquire(1):
            assert admission.permits == 2
    assert admission.permits == 0


def test_a_permit_is_released_once():
    admission = make_admission(max_queue=2)
    first, second = admission.acquire(1), admission.acquire(1)
    first.hold(10)
    first.release()
    first.release()
    assert (admission.permits, admission.held_bytes) == (1, 0)
    second.release()
    assert admission.permits == 0


def test_acquire_releases_the_permit_after_an_error():
    admission = make_admission()
    with pytest.raises(ZeroDivisionError), admission.acquire(1):
        raise ZeroDivisionError
    assert admission.permits == 0


@pytest.mark.parametrize(
    ("age_s", "limit_s"),
    [
        (0.0, BURST_S),
        (BURST_S, BURST_S),
        (math.nextafter(BURST_S, math.inf), BACKLOG_S),
        (math.inf, BACKLOG_S),
    ],
    ids=["no backlog", "longest burst", "shortest backlog", "old backlog"],
)
def test_acquire_refuses_a_longer_wait_than_the_limit_of_a_burst_or_a_backlog(age_s, limit_s):
    queues = FakeQueues(limit_s, age_s)
    admission = make_admission(queues)
    with admission.acquire(1):
        assert admission.permits == 1
    queues.wait_s = math.nextafter(limit_s, math.inf)
    assert_overloaded(
        lambda: admission.acquire(1), f"would wait for {limit_s:.1f} s and at most {limit_s:.1f} s is accepted"
    )
    assert admission.permits == 0


def test_acquire_estimates_the_wait_for_the_size_of_the_body():
    queues = FakeQueues(BURST_S)
    with make_admission(queues).acquire(1234):
        assert queues.sizes == [1234]


def test_acquire_without_a_model_is_not_ready():
    error = FerError(ErrorCode.NOT_READY, "the instance is not ready")
    admission = make_admission(FakeQueues(error))
    with pytest.raises(FerError) as refused, admission.acquire(1):
        pass
    assert refused.value is error
    assert admission.permits == 0


@pytest.mark.parametrize(("age_s", "limit_s"), [(0.0, BURST_S), (math.inf, BACKLOG_S)], ids=["burst", "backlog"])
def test_confirm_checks_the_wait_again_for_the_received_size(age_s, limit_s):
    queues = FakeQueues(0.0, age_s)
    admission = make_admission(queues)
    with admission.acquire(math.inf) as permit:
        queues.wait_s = limit_s
        permit.confirm(1234)
        queues.wait_s = math.nextafter(limit_s, math.inf)
        with pytest.raises(FerError) as refused:
            permit.confirm(5678)
        assert refused.value.code == ErrorCode.OVERLOADED
        assert admission.permits == 1  # until the request ends
    assert queues.sizes == [math.inf, 1234, 5678]
    assert admission.permits == 0


def test_confirm_needs_no_second_permit():
    admission = make_admission(max_queue=1)
    with admission.acquire(1) as permit:
        permit.confirm(1)
        assert admission.permits == 1


def test_open_stream_limits_the_number_of_streams_and_needs_no_permit():
    admission = make_admission(FakeQueues(math.inf), max_queue=2)
    with admission.open_stream():
        with admission.open_stream():
            assert_overloaded(admission.open_stream, "2 streams are open")
        with pytest.raises(ZeroDivisionError), admission.open_stream():
            raise ZeroDivisionError
        with admission.open_stream():
            assert admission.permits == 0


def test_await_key_limits_the_number_of_streams_without_a_key():
    admission = make_admission(max_queue=1)
    with ExitStack() as places:
        for _ in range(MAX_UNAUTHENTICATED_STREAMS):
            places.enter_context(admission.await_key())
        assert_overloaded(admission.await_key, f"{MAX_UNAUTHENTICATED_STREAMS} streams have not sent their API key")
        with admission.open_stream(), admission.acquire(1):  # have separate limits
            assert admission.permits == 1
    with admission.await_key():
        assert admission.permits == 0


def test_acquire_refuses_bulk_work_first():
    admission = make_admission(max_queue=4)
    with ExitStack() as permits:
        for _ in range(3):  # three quarters of the permits
            permits.enter_context(admission.acquire(1, bulk=True))
        assert_overloaded(lambda: admission.acquire(1, bulk=True), "3 bulk requests are in progress")
        permits.enter_context(admission.acquire(1))
        assert_overloaded(lambda: admission.acquire(1), "4 requests are in progress")
    queues = FakeQueues(math.nextafter(BACKLOG_S, math.inf))
    with make_admission(queues).acquire(1):  # a burst of other work may wait longer
        assert_overloaded(lambda: make_admission(queues).acquire(1, bulk=True), "0.3 s is accepted")


def test_acquire_gives_bulk_work_a_permit_if_there_is_one():
    admission = make_admission(max_queue=1)
    with admission.acquire(1, bulk=True):
        assert_overloaded(lambda: admission.acquire(1), "1 requests are in progress")
    assert admission.permits == 0


def test_acquire_refuses_a_caller_that_would_not_wait_long_enough():
    admission = make_admission(FakeQueues(0.1))
    with admission.acquire(1, timeout_s=0.2):
        pass
    assert_overloaded(lambda: admission.acquire(1, timeout_s=0.05), "0.1 s is accepted")


def test_acquire_limits_the_permits_of_one_caller():
    admission = Admission(FakeQueues(), 10, DEADLINE_S, max_per_caller=2)
    with admission.acquire(1, caller="a"), admission.acquire(1, caller="a"):
        assert_overloaded(lambda: admission.acquire(1, caller="a"), "2 requests with this API key")
        with admission.acquire(1, caller="b"):
            pass
    with admission.acquire(1, caller="a"):
        assert admission.permits == 1


def test_permits_hold_at_most_max_bytes_and_give_them_back():
    admission = Admission(FakeQueues(), 3, DEADLINE_S, max_bytes=100)
    with admission.acquire(60) as first:
        first.hold(60)
        first.hold(40)  # less than what is held already
        assert admission.held_bytes == 60
        with admission.acquire(50) as second:
            second.hold(30)
            with pytest.raises(FerError) as refused:
                second.hold(41)
        assert refused.value.code == ErrorCode.OVERLOADED
        assert admission.held_bytes == 60
        message = admission.hold_bytes()
        message.hold(40)
        assert admission.held_bytes == 100
        message.release()
    assert admission.held_bytes == 0
