"""The incoming side of one request: the body limit, and the disconnect of the client."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from app.api.permits import declared_bytes
from app.errors import ErrorCode, FerError

# A request that is answered earlier needs no task that waits for the disconnect of its client.
_WATCH_AFTER_S = 0.02


class RequestBody:
    """Receive the body of one request, within the body limit.

    The bytes are counted while they arrive, whatever the headers declare, and the permit holds their memory. A body
    that arrived in pieces confirms its permit at its end. From then on the disconnect of the client cancels the task
    that answers the request, so that its work leaves every queue. The response releases the permit.

    Args:
        receive: Receives ASGI messages from the server.
        state: State of the request; holds the permit under `permit`.
        headers: Headers of the request.
        max_bytes: The body limit.

    Attributes:
        client_disconnected: True once the client has disconnected and the task was cancelled.
        task: The task that answers the request.
    """

    def __init__(self, receive: Receive, state: MutableMapping[str, Any], headers: Headers, max_bytes: int) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (the server calls an ASGI application in a task)
        self.task = task
        self.client_disconnected = False
        self._receive = receive
        self._state = state
        self._declared = declared_bytes(headers)
        self._max_bytes = max_bytes
        self._received = 0
        self._messages = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """Return the next message of the server.

        Raises:
            FerError: `payload_too_large` or `overloaded`.
        """
        self._accept(self._declared or 0)
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._accept(self._received)
        self._messages += 1
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._complete()
        return message

    def end(self) -> None:
        """Release the permit and ignore the client: the response starts, and a slow reader must not hold a permit."""
        if (permit := self._state.get("permit")) is not None:
            permit.release()
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # without the reference there is no cycle that would keep the body in memory

    def _accept(self, size_bytes: int) -> None:
        """Hold memory for a body of at least a size, or refuse the body."""
        if size_bytes > self._max_bytes:
            raise FerError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"the body may have {self._max_bytes} bytes. Received: at least {size_bytes}",
            )
        if (permit := self._state.get("permit")) is not None:
            permit.hold(size_bytes)

    def _complete(self) -> None:
        if self._messages > 1 and (permit := self._state.get("permit")) is not None:
            permit.confirm(self._received)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._watch)

    def _watch(self) -> None:
        self._watcher = asyncio.create_task(self._await_disconnect())

    async def _await_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_disconnected = True
        self.task.cancel()
