"""The fair scheduler: order, fairness, cancellation, expected wait and backlog age, with a simulated clock."""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from app.engine.scheduler import CLASS_BOUNDS_BYTES, FairScheduler, Scheduled

SMALL, MEDIUM, LARGE = 1_000, CLASS_BOUNDS_BYTES[0] + 1, CLASS_BOUNDS_BYTES[1] + 1


class StepExecutor(Executor):
    """Executor without threads: each call of `step` runs the next submitted job."""

    def __init__(self) -> None:
        self.jobs: list[tuple] = []

    def submit(self, function, /, *args, **kwargs):
        future: Future = Future()
        self.jobs.append((future, function, args))
        return future

    def step(self) -> None:
        future, function, args = self.jobs.pop(0)
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)


class Simulation:
    """A scheduler whose clock only jobs advance.

    Attributes:
        now: Time of the clock in seconds.
        order: Names of the jobs that ran, in order.
    """

    def __init__(self, threads: int = 1) -> None:
        self.now = 0.0
        self.executor = StepExecutor()
        self.scheduler = FairScheduler(self.executor, threads, clock=lambda: self.now)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task] = []

    def job(self, name: str, seconds: float) -> str:
        self.now += seconds
        self.order.append(name)
        return name

    async def submit(self, size: int, name: str, seconds: float, count: int = 1, bulk: bool = False) -> None:
        for _ in range(count):
            self.tasks.append(asyncio.create_task(self.scheduler.run(size, bulk, self.job, name, seconds)))
        await asyncio.sleep(0)

    async def run(self, jobs: int) -> None:
        for _ in range(jobs):
            self.executor.step()
            await asyncio.sleep(0)  # the scheduler completes the job
            await asyncio.sleep(0)  # the caller receives the result

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


def test_run_returns_the_result_or_raises_the_error_of_the_job():
    async def scenario():
        with ThreadPoolExecutor(2) as threads:
            scheduler = FairScheduler(threads, 2)
            assert (await scheduler.run(SMALL, False, divmod, 7, 2)).result == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await scheduler.run(SMALL, False, divmod, 7, 0)
            assert (await scheduler.run(LARGE, False, divmod, 9, 2)).result == (
                4,
                1,
            )  # the error does not affect other jobs
            assert (scheduler.depth, scheduler.oldest) == (0, None)

    asyncio.run(scenario())


def test_run_small_job_does_not_wait_behind_large_ones():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(LARGE, "large", 0.5, 20)
        await simulation.run(3)
        await simulation.submit(SMALL, "small", 0.001)
        await simulation.run(4)
        assert simulation.order.index("small") <= 5  # behind the running job and the submitted job
        simulation.cancel()

    asyncio.run(scenario())


def test_run_large_jobs_are_not_starved_by_small_ones():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(SMALL, "small", 0.01, 500)
        await simulation.submit(LARGE, "large", 0.5, 5)
        await simulation.run(36)
        # The costs differ by a factor of 50, so seven (the square root) small jobs run for each large job.
        assert simulation.order.count("large") == pytest.approx(simulation.order.count("small") / 50**0.5, abs=1)
        simulation.cancel()

    asyncio.run(scenario())


def test_run_bulk_work_waits_behind_other_work_and_is_not_starved():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(MEDIUM, "bulk", 0.1, 100, bulk=True)
        await simulation.run(10)
        await simulation.submit(MEDIUM, "other", 0.1, 200)
        simulation.order.clear()
        await simulation.run(2)
        assert simulation.order == ["bulk", "other"]  # the bulk job had been submitted to the thread
        await simulation.run(158)
        assert 5 <= simulation.order.count("bulk") <= 20
        simulation.cancel()

    asyncio.run(scenario())


def test_run_bulk_work_leaves_a_thread_free_and_runs_alone_if_there_is_one_thread():
    async def scenario():
        for threads, submitted in ((1, 1), (2, 1), (4, 3)):
            simulation = Simulation(threads)
            await simulation.submit(MEDIUM, "bulk", 0.1, 10, bulk=True)
            assert len(simulation.executor.jobs) == submitted
            await simulation.submit(MEDIUM, "other", 0.1, 10)
            assert len(simulation.executor.jobs) == threads + 1
            await simulation.run(threads + 1)
            assert simulation.order.count("bulk") == submitted
            simulation.cancel()

    asyncio.run(scenario())


def test_expected_wait_of_other_work_does_not_grow_with_bulk_work():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(MEDIUM, "other", 0.1, 1)
        await simulation.submit(MEDIUM, "bulk", 0.1, 1, bulk=True)
        await simulation.run(2)  # both classes know their cost
        await simulation.submit(MEDIUM, "bulk", 0.1, 50, bulk=True)
        assert simulation.scheduler.expected_wait_s(MEDIUM) == 0
        await simulation.submit(MEDIUM, "other", 0.1, 11)
        assert simulation.scheduler.expected_wait_s(MEDIUM) == pytest.approx(1.0, rel=0.2)
        assert simulation.scheduler.expected_wait_s(MEDIUM, bulk=True) > 5
        simulation.cancel()

    asyncio.run(scenario())


def test_run_idle_class_has_no_claim_to_unused_time():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(SMALL, "small", 0.01, 200)
        await simulation.run(200)  # the class of large jobs is idle for two seconds
        await simulation.submit(LARGE, "large", 0.5, 20)
        await simulation.submit(SMALL, "small", 0.01, 20)
        simulation.order.clear()
        await simulation.run(6)
        assert simulation.order.count("small") >= 3
        simulation.cancel()

    asyncio.run(scenario())


def test_run_cancelled_job_never_runs():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(SMALL, "job", 0.01, 5)
        submitted, waiting = simulation.tasks[1], simulation.tasks[4]  # in the executor, and in the queue class
        for task in (submitted, waiting):
            task.cancel()
        await asyncio.sleep(0)
        assert simulation.scheduler.depth == 2
        while simulation.executor.jobs:
            await simulation.run(1)
        assert len(simulation.order) == 3
        assert simulation.scheduler.oldest is None
        results = await asyncio.gather(*simulation.tasks, return_exceptions=True)
        assert [result.result for result in results if isinstance(result, Scheduled)] == ["job"] * 3

    asyncio.run(scenario())


def test_run_cancelled_running_job_occupies_its_thread_until_it_ends():
    async def scenario():
        started, released = threading.Event(), threading.Event()

        def block() -> None:
            started.set()
            assert released.wait(10)

        with ThreadPoolExecutor(1) as threads:
            scheduler = FairScheduler(threads, 1)
            cancelled = asyncio.create_task(scheduler.run(SMALL, False, block))
            await asyncio.to_thread(started.wait, 10)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            assert scheduler.oldest is not None  # a running job cannot be stopped
            released.set()
            assert (await scheduler.run(SMALL, False, divmod, 7, 2)).result == (3, 1)
            assert scheduler.oldest is None

    asyncio.run(scenario())


def test_expected_wait_is_the_number_of_waiting_jobs_times_their_cost():
    async def scenario():
        simulation = Simulation(threads=1)
        assert simulation.scheduler.expected_wait_s(LARGE) == 0
        await simulation.submit(LARGE, "large", 0.5, 13)
        await simulation.run(1)  # measures the cost; two jobs are submitted, ten wait
        assert simulation.scheduler.depth == 10
        assert simulation.scheduler.expected_wait_s(LARGE) == pytest.approx(10 * 0.5)
        assert simulation.scheduler.expected_wait_s(SMALL) == 0  # its class is empty
        await simulation.submit(SMALL, "small", 0.02, 1)
        assert simulation.scheduler.expected_wait_s(math.inf) == pytest.approx(10 * 0.5, abs=0.1)  # all waiting work
        simulation.cancel()

    asyncio.run(scenario())


def test_expected_wait_beside_another_class_is_the_actual_wait():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(SMALL, "small", 0.01, 60)
        await simulation.submit(LARGE, "large", 0.5, 100)
        await simulation.run(30)
        expected, start = simulation.scheduler.expected_wait_s(SMALL), simulation.now
        await simulation.submit(SMALL, "last", 0.01)
        while "last" not in simulation.order:
            await simulation.run(1)
        assert expected == pytest.approx(simulation.now - start, abs=0.55)  # a large job takes 0.5 s
        assert 1 < expected < simulation.scheduler.expected_wait_s(LARGE) / 10
        simulation.cancel()

    asyncio.run(scenario())


def test_expected_wait_with_two_threads_is_half_of_one_thread():
    async def scenario():
        waits = []
        for threads in (1, 2):
            simulation = Simulation(threads)
            await simulation.submit(MEDIUM, "portrait", 0.1, 1)
            await simulation.run(1)
            await simulation.submit(MEDIUM, "portrait", 0.1, 10 + threads + 1)
            waits.append(simulation.scheduler.expected_wait_s(MEDIUM))
            simulation.cancel()
        assert waits == pytest.approx([1.0, 0.5])

    asyncio.run(scenario())


def test_run_after_the_shutdown_of_the_executor_is_cancelled():
    async def scenario():
        threads = ThreadPoolExecutor(1)
        scheduler = FairScheduler(threads, 1)
        threads.shutdown()
        with pytest.raises(asyncio.CancelledError):
            await scheduler.run(SMALL, False, divmod, 7, 2)

    asyncio.run(scenario())


def test_backlog_age_is_the_time_since_the_class_was_empty():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(LARGE, "large", 0.5, 4)  # two are submitted, two wait
        await simulation.run(1)
        assert simulation.scheduler.backlog_age_s(LARGE) == pytest.approx(0.5)
        assert simulation.scheduler.backlog_age_s(SMALL) == 0
        await simulation.submit(LARGE, "large", 0.5, 3)
        await simulation.run(2)
        assert simulation.scheduler.backlog_age_s(LARGE) == pytest.approx(1.5)  # new jobs do not restart the backlog
        await simulation.run(4)
        assert simulation.scheduler.backlog_age_s(LARGE) == 0
        await simulation.submit(LARGE, "large", 0.5, 4)
        assert simulation.scheduler.backlog_age_s(LARGE) == 0
        simulation.cancel()

    asyncio.run(scenario())


def test_run_returns_the_wait_of_each_job():
    async def scenario():
        simulation = Simulation()
        await simulation.submit(LARGE, "large", 0.5, 3)
        await simulation.run(3)
        results = await asyncio.gather(*simulation.tasks)
        assert [result.queue_s for result in results] == pytest.approx([0.0, 0.5, 1.0])

    asyncio.run(scenario())
