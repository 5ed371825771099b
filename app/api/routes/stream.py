"""`WS /ws`: the frames of a video in, one response for each, in order. docs/streaming.md describes the protocol."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from starlette.websockets import WebSocket

from app.api.auth import check_origin
from app.api.options import OptionsQuery
from app.api.stream.session import StreamSession
from app.errors import ErrorCode, FerError

router = APIRouter(dependencies=[Depends(check_origin)])


class StreamQuery(OptionsQuery):
    """The query parameters of a stream."""

    smoothing: float = Field(
        0.0, ge=0, le=1, description="share of the previous scores of a face that remains after a tenth of a second"
    )


@router.get("/ws", include_in_schema=False)
async def without_handshake() -> None:
    """Explain a request without a handshake, which is what arrives through a proxy that drops the upgrade.

    Raises:
        FerError: `not_found`.
    """
    raise FerError(
        ErrorCode.NOT_FOUND,
        "expected a WebSocket handshake. Received: a request without one; a proxy must forward Upgrade and Connection",
    )


@router.websocket("/ws")
async def stream(websocket: WebSocket, query: Annotated[StreamQuery, Query()]) -> None:
    """Answer each frame with JSON, or drop it for a newer one."""
    await StreamSession(websocket, query.predict_options(), query.smoothing).serve()
