"""The queue of vision work: images wait in queue classes by file size, and the classes share the vision threads fairly.

Without classes a crop of one kilobyte would wait behind fifty photographs of twelve megapixels. The scheduler uses
start-time fair queueing (Goyal, Vin and Cheng, 1997). Each job is charged the square root of its cost in seconds. A
charge of the whole cost would make callers with large images wait behind one another for much longer than the others;
a charge of one per job would slow crops down to the pace of photographs. The square root minimises the mean wait.

Bulk work has its own queue classes with a small share of the threads. It leaves one thread free where there are
several, so that other work starts at once, and it is never starved.

Reference:
    Goyal, Vin and Cheng, "Start-time fair queuing: a scheduling algorithm for integrated services packet switching
    networks", IEEE/ACM Transactions on Networking 5(5), 1997. Square root: Kleinrock, "Communication Nets", 1964
    (capacity assignment).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from app.engine.queue_class import Job, QueueClass

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Upper bounds of the file sizes of face crops and of portraits for the web; camera photographs are larger.
CLASS_BOUNDS_BYTES = (16 * 1024, 256 * 1024)


@dataclass(frozen=True, slots=True)
class Scheduled(Generic[Result]):
    """A result and the time that its job waited for a thread, in seconds."""

    result: Result
    queue_s: float


class FairScheduler:
    """Run jobs in threads, with a fair share of the threads for each queue class.

    Call all methods on one event loop.

    Args:
        executor: The threads.
        threads: Number of threads.
        clock: Monotonic clock in seconds.
    """

    def __init__(self, executor: Executor, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._executor = executor
        self._threads = threads
        self._clock = clock
        # One job more than threads, so that no thread idles until the event loop submits the next job.
        self._free_slots = threads + 1
        # Bulk work has no job in advance: other work that arrives would wait behind it.
        self._free_bulk_slots = max(1, threads - 1)
        self._classes = {bulk: [QueueClass(bulk) for _ in range(len(CLASS_BOUNDS_BYTES) + 1)] for bulk in (False, True)}
        self._all_classes = self._classes[False] + self._classes[True]
        self._virtual_time = 0.0
        self._running: dict[Job, Future[Any]] = {}  # in the order of submission to the executor

    @property
    def depth(self) -> int:
        """Number of jobs that wait for a thread."""
        return sum(len(queue_class.waiting) for queue_class in self._all_classes)

    @property
    def oldest(self) -> Job | None:
        """The job that was submitted to the threads first and has not ended."""
        return next(iter(self._running), None)

    def expected_wait_s(self, size_bytes: float, bulk: bool = False) -> float:
        """Estimate how long an image file of a size would wait for a thread, from the queue and recent costs."""
        queue_class = self._class_of(size_bytes, bulk)
        if not queue_class.waiting:
            return 0.0
        backlogged = [other for other in self._all_classes if other.waiting]
        work_s = sum(len(other.waiting) * other.cost_s for other in backlogged)
        # Each earlier job of the class lets every class with waiting jobs run for its weight.
        weights = sum(other.weight for other in backlogged)
        return min(work_s, len(queue_class.waiting) * queue_class.charge * weights) / self._threads

    def backlog_age_s(self, size_bytes: float, bulk: bool = False) -> float:
        """Return for how long the queue class of a file size has not been empty; 0 if it is empty."""
        queue_class = self._class_of(size_bytes, bulk)
        return self._clock() - queue_class.backlog_since if queue_class.waiting else 0.0

    async def run(
        self,
        size_bytes: int,
        bulk: bool,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Scheduled[Result]:
        """Run a function in a thread. If the caller is cancelled before the function starts, it never runs.

        Args:
            size_bytes: Size of the image file; it selects the queue class.
            bulk: Whether the job waits behind other work.
            function: Function to run.
            args: Positional arguments of the function.
            kwargs: Keyword arguments of the function.
        """
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job = Job(lambda: function(*args, **kwargs), answer, self._clock())
        queue_class = self._class_of(size_bytes, bulk)
        if not queue_class.waiting:
            queue_class.backlog_since = self._clock()
            # A class that was idle has no claim to the time that it did not use.
            queue_class.virtual_time = max(queue_class.virtual_time, self._virtual_time)
        queue_class.waiting.append(job)
        self._dispatch()
        try:
            return Scheduled(await answer, job.started - job.submitted)
        finally:
            if answer.cancelled():
                self._remove(queue_class, job)
            # The traceback of an error refers to this frame. Without these references there is no cycle, so that the
            # image is freed with the error.
            del answer, job

    def _class_of(self, size_bytes: float, bulk: bool) -> QueueClass:
        return self._classes[bulk][sum(size_bytes > bound for bound in CLASS_BOUNDS_BYTES)]

    def _next_class(self) -> QueueClass | None:
        """Return the class whose job runs next; None if no class may submit a job."""
        if not self._free_slots:
            return None
        allowed = self._all_classes if self._free_bulk_slots else self._classes[False]
        backlogged = [queue_class for queue_class in allowed if queue_class.waiting]
        return min(backlogged, key=lambda candidate: candidate.virtual_time, default=None)

    def _dispatch(self) -> None:
        """Submit waiting jobs to the executor while it has free slots."""
        loop = asyncio.get_running_loop()
        while (queue_class := self._next_class()) is not None:
            job = queue_class.waiting.popleft()
            self._virtual_time = queue_class.virtual_time
            job.charge = queue_class.charge
            queue_class.virtual_time += job.charge
            try:
                future = self._executor.submit(self._run_timed, job)
            except RuntimeError:  # the executor was shut down
                job.answer.cancel()
                continue
            self._free_slots -= 1
            self._free_bulk_slots -= queue_class.bulk
            self._running[job] = future

            def notify(future: Future[Any], queue_class: QueueClass = queue_class, job: Job = job) -> None:
                with suppress(RuntimeError):  # the event loop was closed: no caller waits
                    loop.call_soon_threadsafe(self._complete, queue_class, job, future)

            future.add_done_callback(notify)

    def _run_timed(self, job: Job) -> Any:
        job.started = self._clock()
        try:
            return job.run()
        finally:
            job.seconds = self._clock() - job.started
            del job  # for the reason given in `run`

    def _complete(self, queue_class: QueueClass, job: Job, future: Future[Any]) -> None:
        self._free_slots += 1
        self._free_bulk_slots += queue_class.bulk
        del self._running[job]
        if not future.cancelled():
            queue_class.update_cost_estimate(job)
            if not job.answer.done():
                error = future.exception()
                if error is None:
                    job.answer.set_result(future.result())
                else:
                    job.answer.set_exception(error)
        else:
            queue_class.virtual_time -= job.charge
            job.answer.cancel()
        self._dispatch()

    def _remove(self, queue_class: QueueClass, job: Job) -> None:
        if job in self._running:
            self._running[job].cancel()  # has no effect on a job that has started
        else:
            with suppress(ValueError):  # the job may have ended in the meantime
                queue_class.waiting.remove(job)
