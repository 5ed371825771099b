"""ASGI middleware around every route: request id, clock, body limit, metrics, access log, the last catch.

Plain ASGI, because Starlette's BaseHTTPMiddleware puts a task and a queue between the route and the socket.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import internal_error, problem_response
from app.api.service import Service
from app.errors import ErrorCode, FerError
from app.logs import log_fields
from app.tracing import NoTracing, RequestTrace

REQUEST_ID_HEADER = "X-Request-ID"

_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_UNTRACED = NoTracing()
_UNMATCHED = "unmatched"  # one label for all unknown paths: labels must not be chosen by callers

_logger = logging.getLogger("app.access")


class RequestMiddleware:
    """Gives each request its id and deadline, bounds its body, counts and logs it, and answers what nobody caught.

    Sets `request.state.request_id` and `request.state.deadline` (event-loop time). A WebSocket only gets its id.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get(REQUEST_ID_HEADER))
        settings = self._service.settings
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        if scope["type"] == "websocket":  # the rest is for single requests; `app.api.streams` does it frame by frame
            await self._app(scope, receive, send)
            return
        state["deadline"] = asyncio.get_running_loop().time() + settings.deadline_ms / 1000
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        tracing = _UNTRACED if scope["path"] in _PROBES else self._service.tracing
        self._service.metrics.inflight.inc()
        with tracing.request(headers) as trace, log_fields(_log_fields(request_id, trace)):
            try:
                await self._app(scope, _limited(receive, headers, settings.max_body_bytes), send_with_id)
            except Exception as error:
                problem = internal_error(error, request_id)
                if status:  # the answer had begun: the connection is closed, nothing can be added to it
                    raise
                await problem_response(problem, Request(scope))(scope, receive, send_with_id)
            finally:
                self._service.metrics.inflight.dec()
                self._record(scope, status, time.perf_counter() - started, request_id)
                trace.answered(scope["method"], _route(scope), status, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = _route(scope)
        self._service.metrics.requests.labels(route, status).inc()
        self._service.metrics.request_seconds.labels(route).observe(seconds)
        _logger.log(
            logging.DEBUG if route in _PROBES else logging.INFO,
            "%s %s %d in %.1f ms",
            scope["method"],
            route,
            status,
            seconds * 1000,
            extra={
                "request_id": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 3),
            },
        )


def _route(scope: Scope) -> str:
    path: str = getattr(scope.get("route"), "path", _UNMATCHED)
    return path


def _log_fields(request_id: str, trace: RequestTrace) -> dict[str, str]:
    fields = {"request_id": request_id}
    return fields | {"trace_id": trace.trace_id} if trace.trace_id else fields


def _request_id(proposed: str | None) -> str:
    if proposed is not None and _PLAIN_TOKEN.fullmatch(proposed):
        return proposed
    return uuid.uuid4().hex


def _limited(receive: Receive, headers: Headers, max_body_bytes: int) -> Receive:
    """Counts the body while it streams in, whatever its headers say; refuses a larger one before it is parsed."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_body_bytes:
            raise _too_large(max_body_bytes, int(declared))
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_body_bytes:
            raise _too_large(max_body_bytes, received)
        return message

    return receive_limited


def _too_large(limit: int, received: int) -> FerError:
    return FerError(ErrorCode.PAYLOAD_TOO_LARGE, f"the body may have {limit} bytes. Received: at least {received}")
