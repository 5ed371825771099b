"""Batches, dropped items, failed items, stop and expected wait of the batcher."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from app.inference.batcher import Batcher, BatcherStoppedError

FAR = 1e9


class Doubler:
    """Model that doubles numbers. It can be blocked, and fails for batches with a negative number."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.released = threading.Event()
        self.released.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.released.wait(5)
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [item * 2 for item in items]


@asynccontextmanager
async def running(run: Doubler, max_batch: int = 4, **callbacks) -> AsyncIterator[Batcher[int, int]]:
    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[int, int] = Batcher(run, max_batch=max_batch, executor=executor, **callbacks)
        batcher.start()
        try:
            yield batcher
        finally:
            run.released.set()
            await batcher.stop()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def test_submit_runs_a_single_item_at_once():
    async def scenario():
        run = Doubler()
        async with running(run) as batcher:
            batched = await batcher.submit(21, FAR)
            assert batched.result == 42
            assert batched.queue_s >= 0
            assert batched.run_s >= 0
        assert run.batches == [[21]]

    asyncio.run(scenario())


def test_submit_runs_waiting_items_as_the_next_batch_in_order():
    async def scenario():
        run, sizes = Doubler(), []
        async with running(run, on_batch=sizes.append) as batcher:
            run.released.clear()
            first = batcher.submit(0, FAR)
            await until(lambda: run.batches)
            rest = [batcher.submit(item, FAR) for item in range(1, 7)]
            assert batcher.depth == 6
            run.released.set()
            results = [batched.result for batched in await asyncio.gather(first, *rest)]
        assert results == [0, 2, 4, 6, 8, 10, 12]
        assert run.batches == [[0], [1, 2, 3, 4], [5, 6]]
        assert sizes == [1, 4, 2]

    asyncio.run(scenario())


def test_submit_bulk_items_wait_behind_other_items_for_a_bounded_time(monkeypatch):
    async def scenario():
        run = Doubler()
        async with running(run) as batcher:
            run.released.clear()
            first = batcher.submit(0, FAR)
            await until(lambda: run.batches)
            items = [batcher.submit(item, FAR, bulk=True) for item in (10, 11)]
            items += [batcher.submit(item, FAR) for item in (1, 2, 3)]
            assert batcher.expected_wait_s(bulk=True) >= batcher.expected_wait_s()
            monkeypatch.setattr("app.inference.batcher._BULK_DELAY_S", 0.01)
            await asyncio.sleep(0.02)
            items += [batcher.submit(item, FAR) for item in (4, 5)]
            run.released.set()
            await asyncio.gather(first, *items)
        # 1 to 3 arrived at the same time as the bulk items, and 4 and 5 later than the delay.
        assert run.batches == [[0], [1, 2, 3, 10], [11, 4, 5]]

    asyncio.run(scenario())


def test_submit_drops_a_cancelled_item_before_the_batch():
    async def scenario():
        run = Doubler()
        async with running(run) as batcher:
            run.released.clear()
            first = batcher.submit(0, FAR)
            await until(lambda: run.batches)
            cancelled, kept = batcher.submit(1, FAR), batcher.submit(2, FAR)
            cancelled.cancel()
            run.released.set()
            assert (await kept).result == 4
            await first
        assert run.batches == [[0], [2]]

    asyncio.run(scenario())


def test_submit_does_not_run_an_expired_item():
    async def scenario():
        run = Doubler()
        async with running(run) as batcher:
            run.released.clear()
            first = batcher.submit(0, FAR)
            await until(lambda: run.batches)
            expired = batcher.submit(1, asyncio.get_running_loop().time() + 0.01)
            await asyncio.sleep(0.02)
            run.released.set()
            with pytest.raises(TimeoutError):
                await expired
            await first
        assert run.batches == [[0]]

    asyncio.run(scenario())


def test_submit_fails_only_the_bad_item_of_a_batch():
    async def scenario():
        run, failures, successes = Doubler(), [], []
        callbacks = {"on_failure": lambda: failures.append(1), "on_success": lambda: successes.append(1)}
        async with running(run, **callbacks) as batcher:
            run.released.clear()
            first = batcher.submit(0, FAR)
            await until(lambda: run.batches)
            futures = [batcher.submit(item, FAR) for item in (1, -1, 2)]
            run.released.set()
            good, bad, also_good = await asyncio.gather(*futures, return_exceptions=True)
            await first
            assert (await batcher.submit(5, FAR)).result == 10
        assert (good.result, also_good.result) == (2, 4)
        assert isinstance(bad, ValueError)
        assert len(failures) == 1
        assert len(successes) == 4

    asyncio.run(scenario())


def test_submit_fails_for_a_wrong_number_of_results():
    async def scenario():
        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(lambda items: [1, 2, 3], max_batch=4, executor=executor)
            batcher.start()
            with pytest.raises(RuntimeError, match="returned 3 results"):
                await batcher.submit(1, FAR)
            await batcher.stop()

    asyncio.run(scenario())


def test_stop_fails_unfinished_items_and_refuses_new_ones():
    async def scenario():
        run = Doubler()
        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(run, max_batch=1, executor=executor)
            with pytest.raises(BatcherStoppedError):
                batcher.submit(0, FAR)
            batcher.start()
            run.released.clear()
            running_item, waiting_item = batcher.submit(0, FAR), batcher.submit(1, FAR)
            await until(lambda: run.batches)
            stopping = asyncio.create_task(batcher.stop())
            run.released.set()
            await stopping
            for future in (running_item, waiting_item):
                with pytest.raises(BatcherStoppedError):
                    await future
            with pytest.raises(BatcherStoppedError):
                batcher.submit(2, FAR)

    asyncio.run(scenario())


def test_stop_fails_the_remaining_items_of_a_failed_batch():
    async def scenario():
        started, released = threading.Event(), threading.Event()

        def single_items_only(items: Sequence[int]) -> Sequence[int]:
            if len(items) > 1:
                raise ValueError("more than one item")
            started.set()
            assert released.wait(5)
            return items

        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(single_items_only, max_batch=4, executor=executor)
            batcher.start()
            items = [batcher.submit(item, FAR) for item in range(3)]
            await until(started.is_set)
            stopping = asyncio.create_task(batcher.stop())
            await asyncio.sleep(0)
            released.set()
            await stopping
            done, pending = await asyncio.wait(items, timeout=1)
            assert not pending
            assert [type(item.exception()) for item in done] == [BatcherStoppedError] * 3

    asyncio.run(scenario())


def test_error_in_the_batch_loop_is_reported_and_fails_waiting_items():
    async def scenario():
        deaths = []

        run = Doubler()
        with ThreadPoolExecutor(1) as executor:
            batcher: Batcher[int, int] = Batcher(
                run, max_batch=1, executor=executor, on_failure=lambda: 1 / 0, on_death=lambda: deaths.append(1)
            )
            batcher.start()
            bad, waiting = batcher.submit(-1, FAR), batcher.submit(1, FAR)
            await until(lambda: deaths)
            with pytest.raises(BatcherStoppedError):
                await waiting
            bad.cancel()

    asyncio.run(scenario())


def test_expected_wait_grows_with_the_queue_and_running_is_the_current_batch():
    async def scenario():
        run = Doubler()
        async with running(run) as batcher:
            assert (batcher.expected_wait_s(), batcher.running) == (0.0, None)
            await batcher.submit(0, FAR)
            run.released.clear()
            pending = [batcher.submit(1, FAR)]
            await until(lambda: len(run.batches) == 2)
            assert batcher.expected_wait_s() == 0.0
            batch = batcher.running
            assert batch is not None
            pending += [batcher.submit(item, FAR) for item in range(2, 5)]
            wait_of_three = batcher.expected_wait_s()
            pending += [batcher.submit(item, FAR) for item in range(5, 8)]
            assert batcher.expected_wait_s() == pytest.approx(2 * wait_of_three)
            assert wait_of_three > 0
            assert batcher.running is batch
            run.released.set()
            await asyncio.gather(*pending)
            assert batcher.running is None

    asyncio.run(scenario())
