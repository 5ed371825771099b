"""ASGI middleware around every route: request id, clock, body limit, lost clients, metrics, log, the last catch, HEAD.

Plain ASGI, because Starlette's BaseHTTPMiddleware puts a task and a queue between the route and the socket.
"""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import access_log
from app.api.guards import check_wait, declared_bytes
from app.api.problems import CLIENT_CLOSED_REQUEST, internal_error, problem_response
from app.api.service import Service
from app.errors import ErrorCode, FerError
from app.observability.logging import log_fields
from app.observability.tracing import NoTracing

_UNTRACED = NoTracing()
_UNMATCHED = "unmatched"  # one label for all unknown paths: labels must not be chosen by callers
# A request that is answered sooner is not worth the task that waits for its client to leave.
_WATCH_AFTER_S = 0.02


class RequestMiddleware:
    """Gives each request its id and deadline, bounds its body, counts and logs it, and answers what nobody caught.

    Sets `request.state.request_id` and `request.state.deadline` (event-loop time). A WebSocket only gets its id.
    A request whose client leaves is cancelled: what waits for it, in whichever queue, is dropped.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._answering_head = _AnsweringHead(app)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = access_log.request_id(headers.get(access_log.REQUEST_ID_HEADER))
        settings = self._service.settings
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        if scope["type"] == "websocket":  # the rest is for single requests; `app.api.streams` does it frame by frame
            await self._app(scope, receive, send)
            return
        state["deadline"] = asyncio.get_running_loop().time() + settings.deadline_ms / 1000
        started = time.perf_counter()
        status = 0

        body = _Body(receive, headers, scope, self._service)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                body.unwatch()
                status = message["status"]
                MutableHeaders(scope=message)[access_log.REQUEST_ID_HEADER] = request_id
            await send(message)

        tracing = _UNTRACED if scope["path"] in access_log.PROBES else self._service.tracing
        self._service.metrics.inflight.inc()
        with tracing.request(headers) as trace, log_fields(access_log.fields_of(request_id, trace)):
            try:
                answering = self._answering_head if scope["method"] == "HEAD" else self._app
                await answering(scope, body.receive, send_with_id)
            except asyncio.CancelledError:
                if not body.client_left:
                    raise
                body.request.uncancel()
                status = CLIENT_CLOSED_REQUEST
            except Exception as error:
                problem = internal_error(error, request_id)
                if status:  # the answer had begun: the connection is closed, nothing can be added to it
                    raise
                await problem_response(problem, Request(scope))(scope, receive, send_with_id)
            finally:
                body.unwatch()
                self._service.metrics.inflight.dec()
                access_log.record(
                    self._service.metrics,
                    trace,
                    scope["method"],
                    _route(scope),
                    status,
                    time.perf_counter() - started,
                    request_id,
                )


class _AnsweringHead:
    """Answers HEAD as GET is answered, without the body (RFC 9110, 9.3.2); FastAPI's routes know GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        # The server and what is around this go on seeing HEAD.
        got = {**scope, "method": "GET"}
        try:
            await self._app(got, receive, send_head)
        finally:
            if "route" in got:
                scope["route"] = got["route"]


class _Body:
    """The body of one request on its way in.

    It is counted while it streams, whatever its headers say, and a larger one than allowed is refused before it is
    parsed. A request that holds a permit is refused when the queue has grown too long while its body came. Once all of
    the body is there, the client's leaving cancels the task that answers it.

    Attributes:
        client_left: Whether that has happened.
        request: The task that answers.
    """

    def __init__(self, receive: Receive, headers: Headers, scope: Scope, service: Service) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (an ASGI application is called in one)
        self.request = task
        self.client_left = False
        self._receive = receive
        self._declared = declared_bytes(headers)
        self._state = scope["state"]
        self._service = service
        self._received = 0
        self._messages = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """The next message of the server.

        Raises:
            FerError: `payload_too_large` or `overloaded`.
        """
        limit = self._service.settings.max_body_bytes
        if self._declared is not None and self._declared > limit:
            raise _too_large(limit, self._declared)
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > limit:
            raise _too_large(limit, self._received)
        self._messages += 1
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._complete()
        return message

    def unwatch(self) -> None:
        """The answer has begun: the client may do as it likes."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # it will refer to this: the request and its body would wait for Python's collector

    def _complete(self) -> None:
        if self._messages > 1 and self._state.get("admitted"):
            check_wait(self._service, self._received)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._watch)

    def _watch(self) -> None:
        self._watcher = asyncio.create_task(self._await_leaving())

    async def _await_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self.request.cancel()


def _route(scope: Scope) -> str:
    path: str = getattr(scope.get("route"), "path", _UNMATCHED)
    return path


def _too_large(limit: int, received: int) -> FerError:
    return FerError(ErrorCode.PAYLOAD_TOO_LARGE, f"the body may have {limit} bytes. Received: at least {received}")
