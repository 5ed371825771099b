"""Assertions on WebSocket streams."""

from __future__ import annotations

import pytest
from starlette.websockets import WebSocketDisconnect

from app.api.problems import STATUS
from app.errors import ErrorCode


def assert_closed(stream, code: ErrorCode, close_code: int) -> None:
    """Assert that the stream sends an error, then closes with the same reason."""
    message = stream.receive_json()
    assert message["frame"] is None
    assert (message["error"]["code"], message["error"]["status"]) == (code, STATUS[code])
    with pytest.raises(WebSocketDisconnect) as closed:
        stream.receive_json()
    assert (closed.value.code, closed.value.reason) == (close_code, message["error"]["detail"])
