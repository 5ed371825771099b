"""Media type, content coding and whole bodies of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from app.errors import ErrorCode, FerError

MULTIPART = "multipart/form-data"
JSON = "application/json"
URL_ENCODED = "application/x-www-form-urlencoded"


def media_type(request: Request) -> str:
    """Return the content type of a request in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """Read a whole body into memory. The body limit of `app.api.middleware` bounds it.

    Raises:
        FerError: `unsupported_media_type`, `payload_too_large` or `deadline_exceeded`.
    """
    async with reading(request):
        return await request.body()


@asynccontextmanager
async def reading(request: Request) -> AsyncIterator[None]:
    """Refuse a compressed body, and end the reading of a body at the deadline of the request.

    Raises:
        FerError: `unsupported_media_type` or `deadline_exceeded`.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() not in {"", "identity"}:
        raise FerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"expected a body without content coding. Received: {coding[:100]}"
        )
    try:
        async with asyncio.timeout_at(request.state.deadline):
            yield
    except TimeoutError:
        raise FerError(ErrorCode.DEADLINE_EXCEEDED, "the body did not arrive within the deadline") from None
