"""Sees a thread that hangs: work that began and does not end. Knows neither images nor models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

# Looks in which the same work must have been seen. They are counted, not timed: a process that was stopped for an hour,
# or whose clock jumped, has not hung.
LOOKS_UNTIL_HUNG = 10


class HungError(Exception):
    """A thread does not come back, and Python cannot end one: only a new process helps."""


async def watch(oldest_work: Callable[[], Sequence[object | None]], limit_s: float) -> None:
    """Looks from time to time, until a thread hangs.

    Args:
        oldest_work: What each group of threads has had for longest: the same object for as long as it is the same
            work; None where a group is idle.
        limit_s: How long one piece of work may take.

    Raises:
        HungError: One took longer.
    """
    before: list[object | None] = []
    looks: list[int] = []
    while True:
        work = list(oldest_work())
        looks = [
            seen + 1 if last is now and now is not None else 0
            for last, now, seen in zip(before or work, work, looks or [0] * len(work), strict=True)
        ]
        before = work
        if max(looks, default=0) >= LOOKS_UNTIL_HUNG:
            raise HungError(f"a thread has been at one piece of work for more than {limit_s:g} s")
        await asyncio.sleep(limit_s / LOOKS_UNTIL_HUNG)
