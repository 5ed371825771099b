"""The FastAPI dependency that holds a permit for a request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import Request

from app.api.auth import key_of
from app.api.service import service_of
from app.api.urgency import caller_timeout_s, is_bulk


async def admit(request: Request) -> AsyncIterator[None]:
    """Hold a permit while the request is answered. It is acquired before the body is read.

    Sets `request.state.permit`, `request.state.bulk`, and an earlier `request.state.deadline` if the caller waits for
    less time than the service would take.

    Raises:
        FerError: See `Admission.acquire`; `invalid_parameter` for a header.
    """
    state, headers = request.state, request.headers
    now = asyncio.get_running_loop().time()
    state.bulk = is_bulk(headers)
    timeout_s = caller_timeout_s(headers)
    if timeout_s is not None:
        state.deadline = min(state.deadline, now + timeout_s)
    size_bytes = declared_bytes(headers)
    with service_of(request).admission.acquire(
        math.inf if size_bytes is None else size_bytes,
        bulk=state.bulk,
        timeout_s=state.deadline - now,
        caller=key_of(headers),
    ) as permit:
        state.permit = permit
        yield


# Scope "function": the permit is released before the response is sent, so that a slow reader does not hold it.
ADMIT = Depends(admit, scope="function")


def declared_bytes(headers: Headers) -> int | None:
    """Return the length of the body that the headers declare; None for a chunked body."""
    declared = headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else None  # int() refuses thousands of digits
