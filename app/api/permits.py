"""The FastAPI dependency that holds a permit for a request."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import Request

from app.api.service import service_of


async def admit(request: Request) -> AsyncIterator[None]:
    """Hold a permit while the request is answered. It is acquired before the body is read.

    Raises:
        FerError: See `Admission.acquire`.
    """
    size_bytes = declared_bytes(request.headers)
    with service_of(request).admission.acquire(math.inf if size_bytes is None else size_bytes) as permit:
        request.state.permit = permit
        yield


# Scope "function": the permit is released before the response is sent, so that a slow reader does not hold it.
ADMIT = Depends(admit, scope="function")


def declared_bytes(headers: Headers) -> int | None:
    """Return the length of the body that the headers declare; None for a chunked body."""
    declared = headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else None  # int() refuses thousands of digits
