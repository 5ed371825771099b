"""The watchdog: what counts as hanging, and what does not."""

from __future__ import annotations

import asyncio

import pytest

from app.engine.watchdog import POLLS_UNTIL_HUNG, HungError, watch


class Polls:
    """Shows one entry of a script at every look, the last one for ever."""

    def __init__(self, *entries) -> None:
        self._entries = list(entries)
        self.count = 0

    def __call__(self):
        self.count += 1
        return self._entries.pop(0) if len(self._entries) > 1 else self._entries[0]


def watched(polls: Polls, until: int) -> None:
    async def scenario() -> None:
        watching = asyncio.create_task(watch(polls, limit_s=0.0))
        while polls.count < until and not watching.done():
            await asyncio.sleep(0)
        if watching.done():
            watching.result()
        watching.cancel()

    asyncio.run(scenario())


def test_watch_same_work_at_every_look_has_hung():
    for work in (("image", None), (None, "batch"), ("image", "batch")):
        polls = Polls(work)
        with pytest.raises(HungError):
            watched(polls, until=10 * POLLS_UNTIL_HUNG)
        assert polls.count == POLLS_UNTIL_HUNG


def test_watch_idle_threads_have_not_hung():
    watched(Polls((None, None)), until=5 * POLLS_UNTIL_HUNG)


def test_watch_threads_that_come_to_new_work_have_not_hung():
    watched(Polls(*((number // 5, number // 7) for number in range(1000))), until=900)


def test_watch_process_that_was_stopped_for_long_has_not_hung():
    # One look before, one after: however much time lies between them, the work has not had ten polls' time to move.
    watched(Polls(*([("image", None)] * 2), (None, None)), until=5 * POLLS_UNTIL_HUNG)
