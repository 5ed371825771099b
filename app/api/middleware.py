"""ASGI middleware around every route: request id, deadline, body limit, access log, metrics, last error handler, HEAD.

The middleware is plain ASGI: Starlette's BaseHTTPMiddleware puts a task and a queue between the route and the socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import access_log
from app.api.problems import CLIENT_CLOSED_REQUEST, internal_error, problem_response
from app.api.request_body import RequestBody
from app.api.service import Service
from app.observability.logging import log_fields
from app.observability.tracing import NoTracing

_UNTRACED = NoTracing()
_UNMATCHED = "unmatched"  # one label for all unknown paths: callers must not choose labels


class RequestMiddleware:
    """Give each request its id and deadline, bound its body, log and count it, and answer unexpected exceptions.

    Sets `request.state.request_id` and `request.state.deadline` (event-loop time). A WebSocket receives only its id;
    `app.api.stream` does the rest for each frame.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._head = _HeadMiddleware(app)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = access_log.request_id(headers.get(access_log.REQUEST_ID_HEADER))
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        state["deadline"] = asyncio.get_running_loop().time() + self._service.settings.deadline_ms / 1000
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        tracing = _UNTRACED if path in access_log.PROBES else self._service.tracing
        metrics = self._service.metrics
        started = time.perf_counter()
        metrics.inflight.inc()
        with tracing.request(headers) as trace, log_fields(access_log.log_context(request_id, trace)):
            response = _Response(send, request_id)
            try:
                await self._respond(scope, receive, response, headers)
            finally:
                metrics.inflight.dec()
                seconds = time.perf_counter() - started
                route: str = getattr(scope.get("route"), "path", _UNMATCHED)
                client = access_log.client_address(self._service.settings, scope)
                access_log.record(metrics, trace, scope["method"], route, response.status, seconds, request_id, client)

    async def _respond(self, scope: Scope, receive: Receive, response: _Response, headers: Headers) -> None:
        body = RequestBody(receive, scope["state"], headers, self._service.settings.max_body_bytes)
        response.on_start = body.end
        app = self._head if scope["method"] == "HEAD" else self._app
        try:
            await app(scope, body.receive, response.send)
        except asyncio.CancelledError:
            if not body.client_disconnected:
                raise
            body.task.uncancel()
            response.status = CLIENT_CLOSED_REQUEST
        except Exception as error:
            problem = internal_error(error, response.request_id)
            if response.status:  # the response has started: the server closes the connection
                raise
            await problem_response(problem, Request(scope))(scope, receive, response.send)
        finally:
            body.end()


class _Response:
    """The outgoing side of one request: it adds the request id and keeps the status.

    Attributes:
        request_id: Id of the request.
        status: Status of the response; 0 before it starts.
        on_start: Called when the response starts.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self.on_start: Callable[[], None] = lambda: None

    async def send(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            self.on_start()
            self.status = message["status"]
            MutableHeaders(scope=message)[access_log.REQUEST_ID_HEADER] = self.request_id
        await self._send(message)


class _HeadMiddleware:
    """Answer HEAD like GET, without the body (RFC 9110, 9.3.2): FastAPI's routes accept GET only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        get_scope = {**scope, "method": "GET"}
        try:
            await self._app(get_scope, receive, send_without_body)
        finally:
            if "route" in get_scope:
                scope["route"] = get_scope["route"]
