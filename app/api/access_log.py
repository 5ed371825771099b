"""Request ids, access log lines and request metrics."""

from __future__ import annotations

import logging
import random
import re

from starlette.types import Scope

from app.config import Settings
from app.observability.metrics import Metrics
from app.observability.tracing import RequestTrace

REQUEST_ID_HEADER = "X-Request-ID"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

_IPV4_MAPPED = "::ffff:"  # of the addresses of IPv4 callers on a socket for both families
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")

_logger = logging.getLogger("app.access")


def request_id(proposed: str | None) -> str:
    """Return the request id of the caller if it is a plain token, else a new id."""
    if proposed is not None and _PLAIN_TOKEN.fullmatch(proposed):
        return proposed
    # os.urandom, and so uuid and secrets, would release the interpreter lock; an id needs no secrecy.
    return f"{random.getrandbits(128):032x}"


def log_context(identity: str, trace: RequestTrace) -> dict[str, str]:
    """Return the fields that each log line of a request carries."""
    fields = {"request_id": identity}
    return fields | {"trace_id": trace.trace_id} if trace.trace_id else fields


def client_address(settings: Settings, scope: Scope) -> str:
    """Return the address of the caller for the log; empty if it is unknown or must not be logged.

    The server has replaced the address of a trusted proxy by the forwarded one.
    """
    client = scope.get("client")
    return client[0].removeprefix(_IPV4_MAPPED) if client and settings.log_client else ""


def record(
    metrics: Metrics,
    trace: RequestTrace,
    method: str,
    route: str,
    status: int,
    seconds: float,
    identity: str,
    client: str = "",
) -> None:
    """Count and log a request, and describe its trace.

    Args:
        metrics: Collectors.
        trace: Trace of the request.
        method: HTTP method.
        route: Path of the matched route.
        status: Status of the response; 0 if the response never started.
        seconds: Time from the first byte of the request to the end of the response.
        identity: Request id.
        client: Address of the caller; empty to log none.
    """
    metrics.requests(route, status).inc()
    metrics.request_seconds(route).observe(seconds)
    _logger.log(
        logging.DEBUG if route in PROBES else logging.INFO,
        "%s %s %d in %.1f ms%s",
        method,
        route,
        status,
        seconds * 1000,
        f" from {client}" if client else "",
        extra={
            "request_id": identity,
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            **({"client": client} if client else {}),
        },
    )
    trace.answered(method, route, status, identity)
