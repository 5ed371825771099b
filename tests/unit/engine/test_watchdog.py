"""The watchdog: which work has hung, and which has not."""

from __future__ import annotations

import asyncio

import pytest

from app.engine.watchdog import POLLS_UNTIL_HUNG, HungError, watch


class ScriptedWork:
    """Fake of `oldest_work`: returns the given entries in order, then the last one again.

    Attributes:
        polls: Number of calls.
    """

    def __init__(self, *entries) -> None:
        self._entries = list(entries)
        self.polls = 0

    def __call__(self):
        self.polls += 1
        return self._entries.pop(0) if len(self._entries) > 1 else self._entries[0]


def watch_for(work: ScriptedWork, polls: int) -> None:
    """Run the watchdog for a number of polls."""

    async def scenario() -> None:
        watching = asyncio.create_task(watch(work, limit_s=0.0))
        while work.polls < polls and not watching.done():
            await asyncio.sleep(0)
        if watching.done():
            watching.result()
        watching.cancel()

    asyncio.run(scenario())


def test_same_work_in_every_poll_has_hung():
    for oldest in (("image", None), (None, "batch"), ("image", "batch")):
        work = ScriptedWork(oldest)
        with pytest.raises(HungError):
            watch_for(work, polls=10 * POLLS_UNTIL_HUNG)
        assert work.polls == POLLS_UNTIL_HUNG


def test_idle_threads_have_not_hung():
    watch_for(ScriptedWork((None, None)), polls=5 * POLLS_UNTIL_HUNG)


def test_threads_that_start_new_work_have_not_hung():
    watch_for(ScriptedWork(*((number // 5, number // 7) for number in range(1000))), polls=900)


def test_suspended_process_has_not_hung():
    # The polls before and after the suspension return the same work. The watchdog counts them, not the time between.
    watch_for(ScriptedWork(*([("image", None)] * 2), (None, None)), polls=5 * POLLS_UNTIL_HUNG)
