"""What every request gets and leaves behind, however it is answered: its id, a line of the log, its counts."""

from __future__ import annotations

import logging
import random
import re

from app.observability.metrics import Metrics
from app.observability.tracing import RequestTrace

REQUEST_ID_HEADER = "X-Request-ID"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")

_logger = logging.getLogger("app.access")


def request_id(proposed: str | None) -> str:
    """The caller's id of its request where that is a plain token, else a new one."""
    if proposed is not None and _PLAIN_TOKEN.fullmatch(proposed):
        return proposed
    # Not of the system's randomness, for which a thread gives up the interpreter and waits to have it back.
    return f"{random.getrandbits(128):032x}"


def fields_of(identity: str, trace: RequestTrace) -> dict[str, str]:
    """What every line of the log says that is written while a request is answered."""
    fields = {"request_id": identity}
    return fields | {"trace_id": trace.trace_id} if trace.trace_id else fields


def record(
    metrics: Metrics, trace: RequestTrace, method: str, route: str, status: int, seconds: float, identity: str
) -> None:
    """Counts and logs a request, and ends its trace.

    Args:
        metrics: Told of it.
        trace: The same.
        method: As the request had it.
        route: The path of the route that answered.
        status: Of the answer; 0 where it never began.
        seconds: From the first byte of the request to the end of its answer.
        identity: The request's id.
    """
    metrics.requests(route, status).inc()
    metrics.request_seconds(route).observe(seconds)
    _logger.log(
        logging.DEBUG if route in PROBES else logging.INFO,
        "%s %s %d in %.1f ms",
        method,
        route,
        status,
        seconds * 1000,
        extra={
            "request_id": identity,
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
        },
    )
    trace.answered(method, route, status, identity)
