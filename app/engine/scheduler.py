"""Turns at the vision threads: images wait in lanes by the size of their file, and the lanes share the threads.

A crop of a kilobyte does not wait behind fifty photographs of twelve megapixels, nor they behind a thousand crops.
asyncio only; knows no pixels. Start-time fair queueing over the square roots of the seconds that the jobs of each lane
have taken. Were it the seconds, callers with large images would queue behind one another for much longer than the
others, who would hardly wait at all; were it the number of jobs, crops would go at the pace of photographs.

Reference:
    Goyal, Vin and Cheng, "Start-time fair queuing: a scheduling algorithm for integrated services packet switching
    networks", IEEE/ACM Transactions on Networking 5(5), 1997. The square root is that of Kleinrock's rule for the
    capacities of a network's channels, "Communication Nets", 1964, which makes the mean wait the least.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# A face crop is below the first bound, a portrait for the web below the second, a camera's photograph above both.
LANE_BOUNDS_BYTES = (16 * 1024, 256 * 1024)
_COST_MEMORY = 0.1  # weight of the newest job in a lane's mean: what it learnt is half gone after seven jobs


class Job:
    """One image at a vision thread, or on its way there."""

    def __init__(self, run: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self.run = run
        self.answer = answer
        self.crowded = False
        self.seconds = 0.0
        self.charged = 0.0


class _Lane:
    """Images of one size.

    Attributes:
        waiting: In order of arrival.
        cost_s: Mean seconds of a job; 0 until one has ended.
        spent: What the lane was charged: the square root of the seconds of each of its jobs.
        empty_at: When a job last came to find nobody waiting.
    """

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()
        self.cost_s = 0.0
        self.spent = 0.0
        self.empty_at = -math.inf

    def learn(self, job: Job) -> None:
        """Takes a job that ended into the mean, and what it was charged too little or too much into the account."""
        self.cost_s += (job.seconds - self.cost_s) * (_COST_MEMORY if self.cost_s else 1.0)
        self.spent += math.sqrt(job.seconds) - job.charged

    @property
    def weight(self) -> float:
        """Its share of the threads' time beside other lanes that have work is in proportion to this."""
        return math.sqrt(self.cost_s)


class Lanes:
    """Runs jobs in threads, lane by lane. All methods are called on one event loop.

    Args:
        executor: The threads.
        threads: How many.
        settle: Called in the thread before each job, with whether all threads have work.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        executor: Executor,
        threads: int,
        settle: Callable[[bool], None] = lambda crowded: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._executor = executor
        self._threads = threads
        self._settle = settle
        self._clock = clock
        # One job more than threads, so that none of them waits for the event loop to hand it the next.
        self._free = threads + 1
        self._lanes = [_Lane() for _ in range(len(LANE_BOUNDS_BYTES) + 1)]
        self._virtual = 0.0
        self._running: dict[Job, Future[Any]] = {}  # in order of their beginning

    @property
    def waiting(self) -> int:
        """Jobs that no thread has."""
        return sum(len(lane.waiting) for lane in self._lanes)

    @property
    def oldest(self) -> Job | None:
        """Of the jobs that were given to the threads and have not ended, the first."""
        return next(iter(self._running), None)

    def wait_s(self, size_bytes: float) -> float:
        """How long a file of a size would wait for a thread, judged by what waits and what such files took lately."""
        lane = self._lane_of(size_bytes)
        if not lane.waiting:
            return 0.0
        work_s = sum(len(other.waiting) * other.cost_s for other in self._lanes)
        # In its turn: for each of those before it in its lane, so much of every lane that has work.
        sharing = sum(other.weight for other in self._lanes if other.waiting)
        return min(work_s, len(lane.waiting) * lane.weight * sharing) / self._threads

    def standing_s(self, size_bytes: float) -> float:
        """How long the queue that a file of a size would join has not been empty; 0 where it is."""
        lane = self._lane_of(size_bytes)
        return self._clock() - lane.empty_at if lane.waiting else 0.0

    async def run(
        self,
        size_bytes: int,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Runs a function in a thread when its turn comes; cancelled before that, it is never run.

        Args:
            size_bytes: Of the file, which chooses the lane.
            function: What to run.
            args: Its arguments.
            kwargs: The same.
        """
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job = Job(lambda: function(*args, **kwargs), answer)
        lane = self._lane_of(size_bytes)
        if not lane.waiting:
            lane.empty_at = self._clock()
            lane.spent = max(lane.spent, self._virtual)  # an idle lane saves up nothing
        lane.waiting.append(job)
        self._begin()
        try:
            return await answer
        finally:
            if answer.cancelled():
                self._drop(lane, job)
            # An error refers to this frame by its traceback: were the error to be had from here, it would keep itself
            # and the image until Python's collector comes by.
            del answer, job

    def _lane_of(self, size_bytes: float) -> _Lane:
        return self._lanes[sum(size_bytes > bound for bound in LANE_BOUNDS_BYTES)]

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        while self._free and (ready := [lane for lane in self._lanes if lane.waiting]):
            lane = min(ready, key=lambda candidate: candidate.spent)
            job = lane.waiting.popleft()
            self._virtual = lane.spent
            job.crowded = self._free == 1
            job.charged = lane.weight
            lane.spent += job.charged
            try:
                future = self._executor.submit(self._timed, job)
            except RuntimeError:  # the threads were told to end
                job.answer.cancel()
                continue
            self._free -= 1
            self._running[job] = future

            def tell(future: Future[Any], lane: _Lane = lane, job: Job = job) -> None:
                with suppress(RuntimeError):  # the loop may have been closed meanwhile: nobody waits any more
                    loop.call_soon_threadsafe(self._end, lane, job, future)

            future.add_done_callback(tell)

    def _timed(self, job: Job) -> Any:
        self._settle(job.crowded)
        started = self._clock()
        try:
            return job.run()
        finally:
            job.seconds = self._clock() - started
            del job  # as in `run`

    def _end(self, lane: _Lane, job: Job, future: Future[Any]) -> None:
        self._free += 1
        del self._running[job]
        if not future.cancelled():
            lane.learn(job)
            if not job.answer.done():
                error = future.exception()
                if error is None:
                    job.answer.set_result(future.result())
                else:
                    job.answer.set_exception(error)
        else:
            lane.spent -= job.charged
            job.answer.cancel()
        self._begin()

    def _drop(self, lane: _Lane, job: Job) -> None:
        if job in self._running:
            self._running[job].cancel()  # does nothing to one that a thread has begun
        else:
            with suppress(ValueError):  # it may have ended in the meantime
                lane.waiting.remove(job)
