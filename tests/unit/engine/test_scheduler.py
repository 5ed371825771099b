"""The lanes: order, fairness, dropping and the estimate of waits, with jobs that take time by a clock of their own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from app.engine.scheduler import CLASS_BOUNDS_BYTES, FairScheduler, Scheduled

SMALL, MIDDLE, LARGE = 1_000, CLASS_BOUNDS_BYTES[0] + 1, CLASS_BOUNDS_BYTES[1] + 1


class StepExecutor(Executor):
    """Threads that are none: what was submitted runs one job at a time, when a test says so, in order."""

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


class Scene:
    """Lanes over one thread, a clock that only jobs move, and the order in which jobs ran."""

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

    async def submit(self, size: int, name: str, seconds: float, count: int = 1) -> None:
        self.tasks += [asyncio.create_task(self.scheduler.run(size, self.job, name, seconds)) for _ in range(count)]
        await asyncio.sleep(0)

    async def run(self, jobs: int) -> None:
        for _ in range(jobs):
            self.executor.step()
            await asyncio.sleep(0)  # the end of the job
            await asyncio.sleep(0)  # the answer

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()


def test_run_gives_the_result_and_the_error_of_the_job():
    async def scenario():
        with ThreadPoolExecutor(2) as threads:
            scheduler = FairScheduler(threads, 2)
            assert (await scheduler.run(SMALL, divmod, 7, 2)).result == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await scheduler.run(SMALL, divmod, 7, 0)
            assert (await scheduler.run(LARGE, divmod, 9, 2)).result == (4, 1)  # its neighbours are none the wiser
            assert (scheduler.depth, scheduler.oldest) == (0, None)

    asyncio.run(scenario())


def test_run_small_job_does_not_wait_behind_large_ones():
    async def scenario():
        scene = Scene()
        await scene.submit(LARGE, "large", 0.5, 20)
        await scene.run(3)
        await scene.submit(SMALL, "small", 0.001)
        await scene.run(4)
        assert scene.order.index("small") <= 5  # behind the one in work and the one in the thread's hand
        scene.end()

    asyncio.run(scenario())


def test_run_large_jobs_are_not_starved_by_small_ones():
    async def scenario():
        scene = Scene()
        await scene.submit(SMALL, "small", 0.01, 500)
        await scene.submit(LARGE, "large", 0.5, 5)
        await scene.run(36)
        # Seven small ones for a large one: of the time it has seven times as much, and not fifty.
        assert scene.order.count("large") == pytest.approx(scene.order.count("small") / 50**0.5, abs=1)
        scene.end()

    asyncio.run(scenario())


def test_run_idle_lane_saves_up_no_time():
    async def scenario():
        scene = Scene()
        await scene.submit(SMALL, "small", 0.01, 200)
        await scene.run(200)  # two seconds in which the lane of large ones was idle
        await scene.submit(LARGE, "large", 0.5, 20)
        await scene.submit(SMALL, "small", 0.01, 20)
        scene.order.clear()
        await scene.run(6)
        assert scene.order.count("small") >= 3
        scene.end()

    asyncio.run(scenario())


def test_run_cancelled_job_is_never_run_wherever_it_waits():
    async def scenario():
        scene = Scene()
        await scene.submit(SMALL, "job", 0.01, 5)
        held, waiting = scene.tasks[1], scene.tasks[4]  # one that the executor has, one that waits in its lane
        for task in (held, waiting):
            task.cancel()
        await asyncio.sleep(0)
        assert scene.scheduler.depth == 2
        while scene.executor.jobs:
            await scene.run(1)
        assert len(scene.order) == 3
        assert scene.scheduler.oldest is None
        answers = await asyncio.gather(*scene.tasks, return_exceptions=True)
        assert [answer.result for answer in answers if isinstance(answer, Scheduled)] == ["job"] * 3

    asyncio.run(scenario())


def test_run_cancelled_while_it_runs_frees_its_thread_when_it_ends():
    async def scenario():
        begun, released = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            assert released.wait(10)

        with ThreadPoolExecutor(1) as threads:
            scheduler = FairScheduler(threads, 1)
            gone = asyncio.create_task(scheduler.run(SMALL, hold))
            await asyncio.to_thread(begun.wait, 10)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert scheduler.oldest is not None  # it cannot be stopped, and is not forgotten
            released.set()
            assert (await scheduler.run(SMALL, divmod, 7, 2)).result == (3, 1)
            assert scheduler.oldest is None

    asyncio.run(scenario())


def test_wait_is_what_waits_times_what_it_takes():
    async def scenario():
        scene = Scene(threads=1)
        assert scene.scheduler.expected_wait_s(LARGE) == 0
        await scene.submit(LARGE, "large", 0.5, 13)
        await scene.run(1)  # now the cost is known; two are with the thread, ten wait
        assert scene.scheduler.depth == 10
        assert scene.scheduler.expected_wait_s(LARGE) == pytest.approx(10 * 0.5)
        assert scene.scheduler.expected_wait_s(SMALL) == 0  # in a lane of its own
        await scene.submit(SMALL, "small", 0.02, 1)
        assert scene.scheduler.expected_wait_s(float("inf")) == pytest.approx(
            10 * 0.5, abs=0.1
        )  # the work ahead, not twice that
        scene.end()

    asyncio.run(scenario())


def test_wait_beside_other_lanes_is_what_it_comes_to():
    async def scenario():
        scene = Scene()
        await scene.submit(SMALL, "small", 0.01, 60)
        await scene.submit(LARGE, "large", 0.5, 100)
        await scene.run(30)
        expected, began = scene.scheduler.expected_wait_s(SMALL), scene.now
        await scene.submit(SMALL, "newcomer", 0.01)
        while "newcomer" not in scene.order:
            await scene.run(1)
        assert expected == pytest.approx(scene.now - began, abs=0.55)  # within a large job
        assert 1 < expected < scene.scheduler.expected_wait_s(LARGE) / 10
        scene.end()

    asyncio.run(scenario())


def test_wait_halves_with_twice_the_threads():
    async def scenario():
        waits = []
        for threads in (1, 2):
            scene = Scene(threads)
            await scene.submit(MIDDLE, "portrait", 0.1, 1)
            await scene.run(1)
            await scene.submit(MIDDLE, "portrait", 0.1, 10 + threads + 1)
            waits.append(scene.scheduler.expected_wait_s(MIDDLE))
            scene.end()
        assert waits == pytest.approx([1.0, 0.5])

    asyncio.run(scenario())


def test_run_after_the_threads_ended_is_cancelled():
    async def scenario():
        threads = ThreadPoolExecutor(1)
        scheduler = FairScheduler(threads, 1)
        threads.shutdown()
        with pytest.raises(asyncio.CancelledError):
            await scheduler.run(SMALL, divmod, 7, 2)

    asyncio.run(scenario())


def test_standing_is_told_since_the_queue_was_last_empty_by_lane():
    async def scenario():
        scene = Scene()
        await scene.submit(LARGE, "large", 0.5, 4)  # two are at the thread, two wait
        await scene.run(1)
        assert scene.scheduler.backlog_age_s(LARGE) == pytest.approx(0.5)
        assert scene.scheduler.backlog_age_s(SMALL) == 0
        await scene.submit(LARGE, "large", 0.5, 3)
        await scene.run(2)
        assert scene.scheduler.backlog_age_s(LARGE) == pytest.approx(1.5)  # those who joined a queue did not begin it
        await scene.run(4)
        assert scene.scheduler.backlog_age_s(LARGE) == 0
        await scene.submit(LARGE, "large", 0.5, 4)
        assert scene.scheduler.backlog_age_s(LARGE) == 0
        scene.end()

    asyncio.run(scenario())


def test_run_returns_how_long_each_job_waited_for_a_thread():
    async def scenario():
        scene = Scene()
        await scene.submit(LARGE, "large", 0.5, 3)
        await scene.run(3)
        answers = await asyncio.gather(*scene.tasks)
        assert [answer.queue_s for answer in answers] == pytest.approx([0.0, 0.5, 1.0])

    asyncio.run(scenario())
