"""`WS /ws`: frames in, one answer for each in order out. docs/streaming.md has the protocol."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.websockets import WebSocket

from app.api.guards import check_origin
from app.api.options import Options
from app.api.streams import Stream

router = APIRouter(dependencies=[Depends(check_origin)])


@router.websocket("/ws")
async def stream(
    websocket: WebSocket,
    options: Options,
    smoothing: Annotated[
        float, Query(ge=0, le=1, description="share of a face's old scores that is left after a tenth of a second")
    ] = 0.0,
) -> None:
    """Send image files as binary messages; each is answered in JSON, or dropped for a newer one."""
    await Stream(websocket, options, smoothing).serve()
