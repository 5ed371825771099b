"""The FastAPI dependency that admits a request."""

from __future__ import annotations

import asyncio
import math

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import Request

from app.api.auth import authorise, key_of
from app.api.service import service_of
from app.api.urgency import caller_timeout_s, is_bulk


async def admit(request: Request) -> None:
    """Require an API key, and acquire a permit before the body is read. `app.api.middleware` releases the permit.

    Sets `request.state.permit`, `request.state.bulk`, and an earlier `request.state.deadline` if the caller waits for
    less time than the service would take.

    Raises:
        FerError: See `authorise` and `Admission.acquire`; `invalid_parameter` for a header.
    """
    await authorise(request)
    state, headers = request.state, request.headers
    now = asyncio.get_running_loop().time()
    state.bulk = is_bulk(headers)
    timeout_s = caller_timeout_s(headers)
    if timeout_s is not None:
        state.deadline = min(state.deadline, now + timeout_s)
    size_bytes = declared_bytes(headers)
    state.permit = service_of(request).admission.acquire(
        math.inf if size_bytes is None else size_bytes,
        bulk=state.bulk,
        timeout_s=state.deadline - now,
        caller=key_of(headers),
    )


ADMIT = Depends(admit)


def declared_bytes(headers: Headers) -> int | None:
    """Return the length of the body that the headers declare; None for a chunked body."""
    declared = headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else None  # int() refuses thousands of digits
