"""Streams over a WebSocket: what the synchronous and the asynchronous stream share, and the synchronous one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fer_client.errors import ApiError, ConnectionFailedError
from fer_client.messages import Image, api_error, image_bytes
from fer_client.models import FramePrediction
from fer_client.options import Options, query

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

# The service works on one frame and keeps one more. It drops a third.
MAX_IN_FLIGHT = 2


def stream_url(url: str, smoothing: float, options: Options) -> str:
    """Return the address of a stream.

    Args:
        url: Base URL of the service.
        smoothing: Share of the previous scores that remains after 0.1 s, 0 to 1.
        options: Options for each frame.
    """
    parameters = query(options) | {"smoothing": str(smoothing)}
    return f"ws{url.removeprefix('http').rstrip('/')}/ws?{urlencode(parameters)}"


def check_in_flight(in_flight: int) -> None:
    """Check the number of frames that may wait for their answers.

    Raises:
        ValueError: The service would drop frames.
    """
    if not 1 <= in_flight <= MAX_IN_FLIGHT:
        raise ValueError(f"in_flight must be 1 or {MAX_IN_FLIGHT}. Received: {in_flight}")


def connect_arguments(headers: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """Return the arguments of `connect`. Images are compressed already, and answers have no size limit."""
    return {"additional_headers": headers, "open_timeout": timeout_s, "compression": None, "max_size": None}


def read_answer(text: str | bytes) -> FramePrediction | ApiError:
    """Return the answer to a frame.

    Raises:
        ApiError: The service ends the stream, or the message is not from fer-serve.
    """
    try:
        document = json.loads(text)
        if "error" not in document:
            return FramePrediction.from_json(document)
        error = api_error(document["error"])
        if document["frame"] is not None:
            return error
    except (ValueError, KeyError, TypeError):
        raise ApiError(200, "unknown", "the response is not from fer-serve", "") from None
    raise error


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the exceptions of websockets into those of this package.

    Raises:
        ApiError: The service refused the stream.
        ConnectionFailedError: The connection failed, broke or timed out.
    """
    from websockets.exceptions import InvalidStatus, WebSocketException

    try:
        yield
    except InvalidStatus as error:
        raise _refusal(error.response.status_code, bytes(error.response.body or b"")) from error
    except (WebSocketException, OSError) as error:
        raise ConnectionFailedError(f"the stream failed: {type(error).__name__}: {error}") from error


def answers(
    url: str, arguments: Mapping[str, Any], timeout_s: float, frames: Iterable[Image], in_flight: int
) -> Iterator[FramePrediction | ApiError]:
    """Send frames, and yield the answer to each of them, in order.

    Args:
        url: Address of the stream.
        arguments: Result of `connect_arguments`.
        timeout_s: Longest wait for an answer, in seconds.
        frames: The frames.
        in_flight: Number of frames that may wait for their answers.
    """
    from websockets.sync.client import connect

    with translated_errors():
        socket = connect(url, **arguments)
    with socket:
        waiting = 0
        for frame in frames:
            data = image_bytes(frame)
            with translated_errors():
                socket.send(data)
            waiting += 1
            if waiting == in_flight:
                yield _receive(socket, timeout_s)
                waiting -= 1
        for _ in range(waiting):
            yield _receive(socket, timeout_s)


def _receive(socket: ClientConnection, timeout_s: float) -> FramePrediction | ApiError:
    with translated_errors():
        return read_answer(socket.recv(timeout=timeout_s))


def _refusal(status: int, body: bytes) -> ApiError:
    try:
        return api_error(json.loads(body))
    except (ValueError, KeyError, TypeError):  # not a problem document, for example the page of a proxy
        return ApiError(status, "unknown", body[:200].decode("utf-8", "replace"), "")
