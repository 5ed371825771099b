"""The application without a server, and a client that exchanges ASGI messages with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message

from app.config import Settings
from app.engine.vision_stages import Detector
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import PNG


@asynccontextmanager
async def running_app(detector: Detector | None = None, **settings: Any) -> AsyncIterator[FastAPI]:
    """Start the application with the fakes on the running event loop; stop it at the exit."""
    app = create_app(Settings(**({"deadline_ms": 60_000} | settings)), FakeClassifier(), detector or FakeDetector())
    async with app.router.lifespan_context(app):
        yield app


class ScriptedClient:
    """One `POST /predict`: its body arrives in messages of equal size, and the client disconnects on demand.

    Args:
        body: The image.
        messages: Number of messages.
        reads_response: False for a client that does not read: `send` waits until the disconnect.

    Attributes:
        unread: Messages that the application has not received.
        receive_calls: Number of calls of the ASGI function `receive`.
        sent: Messages of the response.
    """

    def __init__(self, body: bytes = PNG, messages: int = 1, reads_response: bool = True) -> None:
        step = -(-len(body) // messages)
        self.unread = [body[at : at + step] for at in range(0, len(body), step)]
        self.receive_calls = 0
        self.sent: list[Message] = []
        self._reads_response = reads_response
        self._disconnected = asyncio.Event()

    def disconnect(self) -> None:
        """Close the connection."""
        self._disconnected.set()

    async def call(self, app: ASGIApp) -> None:
        """Send the request; return when the application has answered it."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/predict",
            "raw_path": b"/predict",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"image/png")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        self.receive_calls += 1
        if self.unread:
            body = self.unread.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.unread)}
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if not self._reads_response:
            await self._disconnected.wait()
