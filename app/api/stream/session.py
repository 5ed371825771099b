"""One stream of frames over a WebSocket: one frame is answered, the newest waits, older ones are dropped.

Each frame is a request of its own, with a permit, a deadline and its own error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from app.api.access_log import REQUEST_ID_HEADER, client_address
from app.api.auth import has_key, is_api_key
from app.api.problems import STATUS, internal_error, problem
from app.api.schemas.stream import FramePrediction, StreamError, StreamKey
from app.api.service import service_of
from app.api.stream.frames import Frame, NewestFrame
from app.api.stream.tracking import StreamPredictor
from app.domain import PredictOptions
from app.engine.readiness import State
from app.errors import ErrorCode, FerError

# Source: RFC 6455, 7.4.1, and IANA's registry of close codes.
_CLOSE_CODES = {
    ErrorCode.DRAINING: 1012,  # service restart: connect again
    ErrorCode.OVERLOADED: 1013,  # try again later
    ErrorCode.NOT_READY: 1013,
    ErrorCode.INTERNAL: 1011,
}
_ROUTE, _OK = "/ws", 200
_CLOSE_REFUSED = 1008  # policy violation: the same attempt would be refused again
_MAX_KEY_CHARACTERS = 10_000  # megabytes of JSON would block the event loop
_MAX_REASON_CHARACTERS = 120  # RFC 6455, 5.5: 123 bytes

_logger = logging.getLogger("app.access")


class StreamSession:
    """Answer one client until it disconnects, or the instance drains.

    Args:
        websocket: Connection that has not been accepted yet.
        options: Options for each frame.
        smoothing: See `FaceTracker`.
    """

    def __init__(self, websocket: WebSocket, options: PredictOptions, smoothing: float) -> None:
        self._websocket = websocket
        self._service = service_of(websocket)
        self._request_id: str = websocket.state.request_id
        self._predictor = StreamPredictor(options, smoothing)
        self._frames = NewestFrame(self._service.metrics.frames("dropped").inc, self._service.admission.hold_bytes())
        self._arrived = 0

    async def serve(self) -> None:
        """Run the stream to its end. An error that ends it is sent as a message, and as the reason of the close."""
        started = time.perf_counter()
        # Accepted before any refusal: browsers hide the reason of a failed handshake from scripts.
        await self._websocket.accept(headers=[(REQUEST_ID_HEADER.lower().encode(), self._request_id.encode())])
        try:
            await self._authenticate()
            if self._service.readiness.state is State.DRAINING:
                raise _draining()
            _ = self._service.engine.model  # refuses the stream while no model is loaded
            with self._service.admission.open_stream():
                await self._run()
        except (WebSocketDisconnect, WebSocketDisconnected):
            pass
        except FerError as error:
            await self._close(error)
        except Exception as error:
            await self._close(internal_error(error, self._request_id))
        seconds = time.perf_counter() - started
        client = client_address(self._service.settings, self._websocket.scope)
        _logger.info(
            "WS /ws %d frames, %d dropped in %.1f s%s",
            self._arrived,
            self._frames.dropped,
            seconds,
            f" from {client}" if client else "",
            extra={
                "request_id": self._request_id,
                "route": _ROUTE,
                "duration_ms": round(seconds * 1000, 3),
                **({"client": client} if client else {}),
            },
        )

    async def _authenticate(self) -> None:
        settings = self._service.settings
        if has_key(settings, self._websocket.headers):
            return
        with self._service.admission.await_key():
            try:
                async with asyncio.timeout(settings.deadline_ms / 1000):
                    key = _key_in(await self._receive())
            except TimeoutError:
                key = None
        if key is None or not is_api_key(settings, key):
            raise FerError(
                ErrorCode.UNAUTHORIZED,
                "expected a valid API key in X-API-Key, in Authorization: Bearer or as api_key in a first message",
            )

    async def _run(self) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        tasks = [asyncio.create_task(self._answer_frames()), asyncio.create_task(self._receive_frames())]
        service.metrics.open_streams.inc()
        try:
            # A signal handler begins the drain. It may only wake the event loop.
            with service.readiness.watch_drain(lambda: loop.call_soon_threadsafe(self._frames.end)):
                await asyncio.gather(*tasks)  # until one of them raises the error that ends the stream
        finally:
            service.metrics.open_streams.dec()
            search = self._predictor.search
            await _cancel_all(tasks if search is None else [*tasks, search])
            self._frames.end()  # gives back the memory of the frame that waits
            tasks.clear()  # a finished task keeps its exception, whose traceback keeps this frame

    async def _receive_frames(self) -> None:
        """Receive frames while others are answered, so that the waiting frame is the newest."""
        while True:
            message = await self._receive()
            if (data := message.get("bytes")) is not None:
                self._arrived += 1
                try:
                    self._frames.put(Frame(self._arrived, data, asyncio.get_running_loop().time()))
                except FerError as error:
                    await self._send_error(error, self._arrived)
                await asyncio.sleep(0)  # an idle answering task takes the frame before a newer one replaces it
            elif self._arrived or _key_in(message) is None:  # a key that was not needed is ignored
                detail = "expected an image file in a binary message. Received: text"
                await self._send_error(FerError(ErrorCode.MALFORMED_REQUEST, detail), None)

    async def _receive(self) -> dict[str, Any]:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _answer_frames(self) -> None:
        """Answer one frame after another, so that responses keep their order and tracks continue.

        Raises:
            FerError: `draining`.
        """
        metrics = self._service.metrics
        while (frame := await self._frames.take()) is not None:
            with self._service.tracing.request(self._websocket.headers) as trace:
                try:
                    answer = await self._predict(frame)
                except FerError as error:
                    trace.answered("WS", _ROUTE, STATUS[error.code], self._request_id)
                    await self._send_error(error, frame.number)
                except Exception as error:  # an internal error of one frame must not end the stream
                    trace.answered("WS", _ROUTE, STATUS[ErrorCode.INTERNAL], self._request_id)
                    await self._send_error(internal_error(error, self._request_id), frame.number)
                else:
                    trace.answered("WS", _ROUTE, _OK, self._request_id)
                    await self._websocket.send_text(answer.model_dump_json())
                    metrics.frames("answered").inc()
            metrics.frame_seconds.observe(asyncio.get_running_loop().time() - frame.arrived_s)
        raise _draining()

    async def _predict(self, frame: Frame) -> FramePrediction:
        settings = self._service.settings
        if len(frame.data) > settings.max_body_bytes:
            raise FerError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"a frame may have {settings.max_body_bytes} bytes. Received: {len(frame.data)}",
            )
        with self._service.admission.acquire(len(frame.data)) as permit:
            permit.hold(len(frame.data))
            deadline = frame.arrived_s + settings.deadline_ms / 1000
            result, tracks = await self._predictor.predict(frame, self._service.engine.model.pipeline, deadline)
        return FramePrediction.of_frame(result, tracks, self._request_id, frame.number, self._frames.dropped)

    async def _send_error(self, error: FerError, frame: int | None) -> None:
        metrics = self._service.metrics
        metrics.rejections(error.code).inc()
        if frame is not None:
            metrics.frames("failed").inc()
        message = StreamError(frame=frame, dropped=self._frames.dropped, error=problem(error, self._request_id))
        await self._websocket.send_text(message.model_dump_json())

    async def _close(self, error: FerError) -> None:
        with suppress(WebSocketDisconnect, WebSocketDisconnected):  # the client may disconnect first
            await self._send_error(error, None)
            code = _CLOSE_CODES.get(error.code, _CLOSE_REFUSED)
            await self._websocket.close(code, error.detail[:_MAX_REASON_CHARACTERS])


def _key_in(message: Mapping[str, Any]) -> str | None:
    """Return the API key in the first message of a stream; None if it holds none."""
    text = message.get("text") or ""
    if len(text) > _MAX_KEY_CHARACTERS:
        return None
    try:
        return StreamKey.model_validate_json(text).api_key
    except ValidationError:
        return None


async def _cancel_all(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks)
    for task in done:
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log the error that ended the stream again


def _draining() -> FerError:
    return FerError(ErrorCode.DRAINING, "draining: the instance is shutting down; connect again")
