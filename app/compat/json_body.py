"""JSON bodies of the compatible APIs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from app.api.parsing import base64_image
from app.errors import ErrorCode, FerError

MAX_JSON_COMMAS = 100_000  # a request has one for each image and option


def check_commas(body: bytes, most: int) -> None:
    """Refuse JSON with more values than a request can need, without decoding it.

    Raises:
        FerError: `malformed_request`.
    """
    if len(body) <= most:
        return
    commas = int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord(",")))
    if commas > most:
        raise FerError(
            ErrorCode.MALFORMED_REQUEST, f"at most {most} commas are accepted in a JSON body. Received: {commas}"
        )


def json_object(body: bytes) -> dict[str, Any]:
    """Decode the JSON object in a body.

    Raises:
        FerError: `malformed_request`.
    """
    check_commas(body, MAX_JSON_COMMAS)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise FerError(ErrorCode.MALFORMED_REQUEST, "the body is not a JSON object") from None


def from_base64(value: Any, name: str) -> bytes:
    """Decode base64.

    Raises:
        FerError: `malformed_request` for a value that is not a string, else `invalid_base64`.
    """
    if not isinstance(value, str):
        raise FerError(ErrorCode.MALFORMED_REQUEST, f"{name} must be a base64 string")
    return base64_image.from_base64(value, name)
