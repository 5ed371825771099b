"""`WS /ws`: frames in, one answer for each in order out. docs/streaming.md has the protocol."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.websockets import WebSocket

from app.api.guards import check_origin
from app.api.options import OptionsQuery, read_query
from app.api.streams import Stream

router = APIRouter(dependencies=[Depends(check_origin)])


class StreamQuery(OptionsQuery):
    """The query parameters of a stream."""

    smoothing: float = Field(
        0.0, ge=0, le=1, description="share of a face's old scores that is left after a tenth of a second"
    )


@router.websocket("/ws")
async def stream(websocket: WebSocket) -> None:
    """Send image files as binary messages; each is answered in JSON, or dropped for a newer one."""
    query = read_query(websocket, StreamQuery)
    await Stream(websocket, query.options, query.smoothing).serve()
