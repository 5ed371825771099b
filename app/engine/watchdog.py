"""Detect a thread that hangs: work that started and does not end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

# Number of polls in which the same work must be seen. Polls are counted instead of time: a process that was stopped
# for an hour, or whose clock jumped, has not hung.
POLLS_UNTIL_HUNG = 10


class HungError(Exception):
    """A thread does not return. Python cannot end a thread, so only a new process helps."""


async def watch(oldest_work: Callable[[], Sequence[object | None]], limit_s: float) -> None:
    """Poll until a thread hangs.

    Args:
        oldest_work: Returns the oldest work of each group of threads: the same object as long as the group is at the
            same work, None for an idle group.
        limit_s: Longest time for one piece of work, in seconds.

    Raises:
        HungError: One piece of work took longer than the limit.
    """
    previous: list[object | None] = []
    polls: list[int] = []
    while True:
        work = list(oldest_work())
        polls = [
            count + 1 if last is current and current is not None else 0
            for last, current, count in zip(previous or work, work, polls or [0] * len(work), strict=True)
        ]
        previous = work
        if max(polls, default=0) >= POLLS_UNTIL_HUNG:
            raise HungError(f"a thread has been at one piece of work for more than {limit_s:g} s")
        await asyncio.sleep(limit_s / POLLS_UNTIL_HUNG)
