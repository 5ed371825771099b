"""Streams over a WebSocket: the asynchronous one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from fer_client.errors import ApiError
from fer_client.messages import Image, image_bytes
from fer_client.models import FramePrediction
from fer_client.streaming import read_answer, translated_errors

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

T = TypeVar("T")


async def answers(
    url: str,
    arguments: Mapping[str, Any],
    timeout_s: float,
    frames: Iterable[Image] | AsyncIterable[Image],
    in_flight: int,
) -> AsyncIterator[FramePrediction | ApiError]:
    """Send frames, and yield the answer to each of them, in order. See `fer_client.streaming.answers`."""
    from websockets.asyncio.client import connect

    with translated_errors():
        socket = await connect(url, **arguments)
    async with socket:
        waiting = 0
        async for frame in as_async(frames):
            data = await asyncio.to_thread(image_bytes, frame)
            with translated_errors():
                await socket.send(data)
            waiting += 1
            if waiting == in_flight:
                yield await _receive(socket, timeout_s)
                waiting -= 1
        for _ in range(waiting):
            yield await _receive(socket, timeout_s)


async def as_async(values: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield the values of an iterable. The next value of a synchronous one is taken in a worker thread."""
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
        return
    iterator, end = iter(values), object()
    while (taken := await asyncio.to_thread(next, iterator, end)) is not end:
        yield taken  # type: ignore[misc]


async def _receive(socket: ClientConnection, timeout_s: float) -> FramePrediction | ApiError:
    with translated_errors():
        async with asyncio.timeout(timeout_s):
            text = await socket.recv()
        return read_answer(text)
