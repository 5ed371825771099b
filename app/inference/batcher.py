"""A work-conserving batcher: whatever waited while the last batch ran is the next batch. asyncio only; knows no arrays.

An idle batcher adds no wait. Items whose caller has gone or whose deadline has passed are dropped before a batch is
built. One bad item never hurts a neighbour: a batch that fails is run again item by item.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_COST_MEMORY = 0.1  # weight of the newest batch in the mean of what an item takes

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batched(Generic[Result]):
    """A result with what it waited and what its batch took, in seconds."""

    result: Result
    queue_s: float
    run_s: float


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Batched[Result]]
    submitted: float
    deadline: float


class BatcherStoppedError(Exception):
    """The batcher no longer runs, so the item was not processed."""


class Batcher(Generic[Item, Result]):
    """Gathers single items into batches. All methods are called on the event loop that started it.

    Args:
        run: Maps items to as many results, in order; called in `executor`, one batch at a time.
        max_batch: Most items of one call.
        executor: Where `run` runs.
        on_batch: Told the size of every batch that `run` finished.
        on_success: Told when a batch succeeded.
        on_failure: Told when `run` failed for a single item.
        on_death: Told when the loop itself died; nothing will be run any more.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        executor: Executor,
        on_batch: Callable[[int], None] = lambda size: None,
        on_success: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._executor = executor
        self._on_batch = on_batch
        self._on_success = on_success
        self._on_failure = on_failure
        self._on_death = on_death
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._item_s = 0.0
        self._running: Sequence[object] | None = None

    @property
    def depth(self) -> int:
        """Items that wait."""
        return len(self._waiting)

    @property
    def wait_s(self) -> float:
        """How long a new item would wait for its batch, judged by what waits and what items took lately."""
        return len(self._waiting) * self._item_s

    @property
    def running(self) -> object | None:
        """The batch that `run` has now: the same object for as long as it is the same batch."""
        return self._running

    def start(self) -> None:
        """Begins to take batches, on the running event loop."""
        self._task = asyncio.create_task(self._loop(), name="batcher")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ends the loop; what still waits fails with `BatcherStoppedError`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def submit(self, item: Item, deadline: float) -> asyncio.Future[Batched[Result]]:
        """Queues one item.

        Args:
            item: What `run` takes.
            deadline: Event-loop time after which it is not worth running.

        Returns:
            A future of the result. Cancel it to drop the item. It fails with `TimeoutError` when the deadline passes
            in the queue, with `BatcherStoppedError` when the batcher stops, else with what `run` raised.

        Raises:
            BatcherStoppedError: The batcher does not run.
        """
        if self._task is None or self._task.done():
            raise BatcherStoppedError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Batched[Result]] = loop.create_future()
        self._waiting.append(_Entry(item, future, time.perf_counter(), deadline))
        self._arrived.set()
        return future

    async def _loop(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            if batch:
                await self._process(batch)

    def _take(self) -> list[_Entry[Item, Result]]:
        now = asyncio.get_running_loop().time()
        batch: list[_Entry[Item, Result]] = []
        while self._waiting and len(batch) < self._max_batch:
            entry = self._waiting.popleft()
            if entry.future.done():
                continue
            if entry.deadline <= now:
                entry.future.set_exception(TimeoutError())
            else:
                batch.append(entry)
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _process(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            await self._run_together(batch)
        except asyncio.CancelledError:
            _fail(batch, BatcherStoppedError())
            raise
        except Exception as error:
            if len(batch) == 1:
                _logger.exception("a model run failed")
                self._on_failure()
                _fail(batch, error)
                return
            _logger.warning("a batch of %d failed (%s): running its items one by one", len(batch), type(error).__name__)
            try:
                for entry in batch:
                    if not entry.future.done():
                        await self._process([entry])
            finally:
                _fail(batch, BatcherStoppedError())  # those that a stop left over

    async def _run_together(self, batch: list[_Entry[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()  # uvloop's own clock has whole milliseconds only
        self._running = batch
        try:
            results = await loop.run_in_executor(self._executor, self._run, [entry.item for entry in batch])
        finally:
            self._running = None
        if len(results) != len(batch):
            raise RuntimeError(f"a batch of {len(batch)} items returned {len(results)} results")
        run_s = time.perf_counter() - started
        self._item_s += (run_s / len(batch) - self._item_s) * (_COST_MEMORY if self._item_s else 1.0)
        self._on_batch(len(batch))
        self._on_success()
        for entry, result in zip(batch, results, strict=True):
            if not entry.future.done():
                entry.future.set_result(Batched(result, started - entry.submitted, run_s))

    def _ended(self, task: asyncio.Task[None]) -> None:
        _fail(self._waiting, BatcherStoppedError())
        self._waiting.clear()
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.critical("the batch loop died", exc_info=error)
            self._on_death()


def _fail(entries: Sequence[_Entry[Item, Result]] | deque[_Entry[Item, Result]], error: Exception) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)
