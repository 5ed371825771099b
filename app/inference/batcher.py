"""Batcher without a timer: the items that arrive while a batch runs form the next batch.

An idle batcher runs an item at once. Cancelled and expired items are dropped before a batch is built. If a batch fails,
its items run again one by one, so that an item can only fail by itself. The batcher uses asyncio and does not depend on
the type of the items. Bulk items wait behind other items, for a bounded time.
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

# A bulk item lets items go first that arrive up to this time after it, so it is never starved.
_BULK_DELAY_S = 0.5
_EWMA_WEIGHT = 0.1  # of the newest batch in the average time per item

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batched(Generic[Result]):
    """Result of one item.

    Attributes:
        result: Return value of `run` for the item.
        queue_s: Time in the queue, in seconds.
        run_s: Time of the whole batch, in seconds.
    """

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
    """The batcher does not run, so the item was not processed."""


class Batcher(Generic[Item, Result]):
    """Queue of single items that runs them in batches. Call all methods on the event loop that called `start`.

    Args:
        run: Function that returns one result per item, in order. `executor` calls it with one batch at a time.
        max_batch: Largest number of items per batch.
        executor: Executor of `run`.
        on_batch: Callback for each successful batch; receives the number of items.
        on_success: Callback for each successful batch.
        on_failure: Callback for each item whose run failed.
        on_death: Callback for an error in the batch loop itself, after which no item can run.
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
        self._waiting_bulk: deque[_Entry[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seconds_per_item = 0.0
        self._running: Sequence[object] | None = None

    @property
    def depth(self) -> int:
        """Number of items in the queue."""
        return len(self._waiting) + len(self._waiting_bulk)

    def expected_wait_s(self, bulk: bool = False) -> float:
        """Return the expected wait of a new item in seconds: items before it times the average time per item."""
        return (self.depth if bulk else len(self._waiting)) * self._seconds_per_item

    @property
    def running(self) -> object | None:
        """The batch that runs now, or None. The object is the same as long as the batch is the same."""
        return self._running

    def start(self) -> None:
        """Start the batch loop on the running event loop."""
        self._task = asyncio.create_task(self._loop(), name="batcher")
        self._task.add_done_callback(self._on_loop_end)

    async def stop(self) -> None:
        """Stop the batch loop. Unfinished items fail with `BatcherStoppedError`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def submit(self, item: Item, deadline: float, bulk: bool = False) -> asyncio.Future[Batched[Result]]:
        """Add one item to the queue.

        Args:
            item: Input of `run`.
            deadline: Event-loop time after which the item must not run any more.
            bulk: Whether the item waits behind other items.

        Returns:
            Future of the result; cancel it to drop the item. It fails with `TimeoutError` if the deadline passes in the
            queue, with `BatcherStoppedError` if the batcher stops, and otherwise with the exception of `run`.

        Raises:
            BatcherStoppedError: The batcher does not run.
        """
        if self._task is None or self._task.done():
            raise BatcherStoppedError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Batched[Result]] = loop.create_future()
        queue = self._waiting_bulk if bulk else self._waiting
        queue.append(_Entry(item, future, time.perf_counter(), deadline))
        self._arrived.set()
        return future

    async def _loop(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            if batch:
                await self._process(batch)

    def _next_batch(self) -> list[_Entry[Item, Result]]:
        now = asyncio.get_running_loop().time()
        batch: list[_Entry[Item, Result]] = []
        while self.depth and len(batch) < self._max_batch:
            entry = self._pop()
            if entry.future.done():
                continue
            if entry.deadline <= now:
                entry.future.set_exception(TimeoutError())
            else:
                batch.append(entry)
        if not self.depth:
            self._arrived.clear()
        return batch

    def _pop(self) -> _Entry[Item, Result]:
        bulk, others = self._waiting_bulk, self._waiting
        if bulk and (not others or bulk[0].submitted + _BULK_DELAY_S <= others[0].submitted):
            return bulk.popleft()
        return others.popleft()

    async def _process(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            await self._run_batch(batch)
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
                _fail(batch, BatcherStoppedError())  # a stop may leave items that did not run

    async def _run_batch(self, batch: list[_Entry[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()  # uvloop's clock has a resolution of 1 ms
        self._running = batch
        try:
            results = await loop.run_in_executor(self._executor, self._run, [entry.item for entry in batch])
        finally:
            self._running = None
        if len(results) != len(batch):
            raise RuntimeError(f"a batch of {len(batch)} items returned {len(results)} results")
        run_s = time.perf_counter() - started
        weight = _EWMA_WEIGHT if self._seconds_per_item else 1.0
        self._seconds_per_item += (run_s / len(batch) - self._seconds_per_item) * weight
        self._on_batch(len(batch))
        self._on_success()
        for entry, result in zip(batch, results, strict=True):
            if not entry.future.done():
                entry.future.set_result(Batched(result, started - entry.submitted, run_s))

    def _on_loop_end(self, task: asyncio.Task[None]) -> None:
        for queue in (self._waiting, self._waiting_bulk):
            _fail(queue, BatcherStoppedError())
            queue.clear()
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.critical("the batch loop failed", exc_info=error)
            self._on_death()


def _fail(entries: Sequence[_Entry[Item, Result]] | deque[_Entry[Item, Result]], error: Exception) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)
