"""The response header `Connection: close`, where the server must not use a connection again."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.engine.readiness import Readiness, State


class ConnectionCloseMiddleware:
    """Close connections with a response during the drain, and after a refusal that a client waits for with its body.

    During the drain the callers on kept connections then open others, which a load balancer of layer 4 directs to
    other instances. A client that waits for `100 Continue` and receives a refusal may send its body or another request;
    the server cannot distinguish them (RFC 9110, 10.1.1).

    Args:
        app: The application.
        readiness: State of the instance.
    """

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or not scope["http_version"].startswith("1."):
            await self._app(scope, receive, send)
            return
        awaits_continue = "expect" in Headers(scope=scope)

        async def receive_body() -> Message:
            nonlocal awaits_continue
            awaits_continue = False
            return await receive()

        async def send_response(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            if is_start and (awaits_continue or self._readiness.state is State.DRAINING):
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive_body, send_response)
