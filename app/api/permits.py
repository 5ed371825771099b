"""The FastAPI dependency that holds a permit for a request, and the headers that say how urgent the request is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header
from starlette.datastructures import Headers
from starlette.requests import Request

from app.api.auth import key_of
from app.api.service import service_of

# Urgencies of RFC 9218 are 0 (highest) to 7. Work with an urgency above the default is bulk work.
DEFAULT_URGENCY = 3

Priority = Annotated[
    str | None,
    Header(
        description="RFC 9218, for example `u=5`. An urgency of 4 to 7 is bulk work: it waits behind other work and is"
        " refused first, but is never starved. The default is 3. Values that RFC 9218 does not know are ignored",
    ),
]
TimeoutMs = Annotated[
    int | None,
    Header(
        ge=1,
        le=2**53,
        description="How long the caller waits for the response, in milliseconds. It may only shorten the deadline of"
        " the service. Work that has expired is not started",
    ),
]


async def admit(
    request: Request,
    priority: Priority = None,
    x_request_timeout_ms: TimeoutMs = None,
    x_envoy_expected_rq_timeout_ms: TimeoutMs = None,
) -> AsyncIterator[None]:
    """Hold a permit while the request is answered. It is acquired before the body is read.

    Sets `request.state.permit`, `request.state.bulk`, and an earlier `request.state.deadline` if the caller waits for
    less time than the service would take.

    Raises:
        FerError: See `Admission.acquire`.
    """
    now = asyncio.get_running_loop().time()
    for timeout_ms in (x_request_timeout_ms, x_envoy_expected_rq_timeout_ms):
        if timeout_ms is not None:
            request.state.deadline = min(request.state.deadline, now + timeout_ms / 1000)
    request.state.bulk = urgency_of(priority) > DEFAULT_URGENCY
    size_bytes = declared_bytes(request.headers)
    with service_of(request).admission.acquire(
        math.inf if size_bytes is None else size_bytes,
        bulk=request.state.bulk,
        timeout_s=request.state.deadline - now,
        caller=key_of(request.headers),
    ) as permit:
        request.state.permit = permit
        yield


# Scope "function": the permit is released before the response is sent, so that a slow reader does not hold it.
ADMIT = Depends(admit, scope="function")


def urgency_of(priority: str | None) -> int:
    """Return the urgency in a `Priority` header, 0 to 7; the default without a valid one.

    Reference:
        RFC 9218, 4.1 and 5: the header is a dictionary of structured fields, and invalid members are ignored.
    """
    urgency = DEFAULT_URGENCY
    for member in (priority or "").split(","):
        name, _, value = member.partition("=")
        digit = value.partition(";")[0].strip()
        if name.strip() == "u" and digit in set("01234567"):
            urgency = int(digit)
    return urgency


def declared_bytes(headers: Headers) -> int | None:
    """Return the length of the body that the headers declare; None for a chunked body."""
    declared = headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else None  # int() refuses thousands of digits
