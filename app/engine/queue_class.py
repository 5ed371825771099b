"""One queue class of the fair scheduler: the waiting jobs of a range of file sizes, and their cost."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any

# Share of the threads' time that bulk work gets beside as much other work; 1 is the share of other work.
_BULK_SHARE = 1 / 16
_COST_SMOOTHING = 0.1  # weight of the newest job in the mean cost of its class; its half-life is seven jobs


class Job:
    """One image that waits for a vision thread or runs in one."""

    def __init__(self, run: Callable[[], Any], answer: asyncio.Future[Any], submitted: float) -> None:
        self.run = run
        self.answer = answer
        self.submitted = submitted
        self.started = submitted
        self.seconds = 0.0
        self.charge = 0.0


class QueueClass:
    """Jobs of one range of file sizes.

    Args:
        bulk: Whether the jobs are bulk work.

    Attributes:
        bulk: Whether the jobs are bulk work.
        waiting: Jobs in order of arrival.
        cost_s: Mean cost of a job in seconds (EWMA); 0 until a job has ended.
        virtual_time: Sum of the charges of the jobs of this class.
        backlog_since: Clock time since which the class has always had a waiting job.
    """

    def __init__(self, bulk: bool) -> None:
        self.bulk = bulk
        self.waiting: deque[Job] = deque()
        self.cost_s = 0.0
        self.virtual_time = 0.0
        self.backlog_since = -math.inf

    def update_cost_estimate(self, job: Job) -> None:
        """Include an ended job in the mean cost, and correct the charge that was based on the estimate."""
        self.cost_s += (job.seconds - self.cost_s) * (_COST_SMOOTHING if self.cost_s else 1.0)
        self.virtual_time += math.sqrt(job.seconds) / self._share - job.charge

    @property
    def weight(self) -> float:
        """Share of the threads' time, relative to the other classes with waiting jobs."""
        return math.sqrt(self.cost_s) * self._share

    @property
    def charge(self) -> float:
        """Charge of the next job: its cost divided by the weight of the class."""
        return math.sqrt(self.cost_s) / self._share

    @property
    def _share(self) -> float:
        return _BULK_SHARE if self.bulk else 1.0
