"""One stream of frames over a WebSocket: one is answered, the newest waits, older ones are dropped.

Each frame is a request of its own: it has a permit, a deadline and its own error. Knows no pixels; the pipeline
answers, the tracker follows faces.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from app.api.access_log import REQUEST_ID_HEADER
from app.api.guards import has_key, key_opens, permit
from app.api.problems import STATUS, internal_error, problem
from app.api.schemas import FramePrediction, ModelName, StreamError, StreamKey
from app.api.service import service_of
from app.domain import FaceBox, PredictOptions
from app.engine.pipeline import Pipeline
from app.engine.readiness import State
from app.errors import ErrorCode, FerError
from app.vision.tracking import MIN_OVERLAP, FaceTracker

# Between these searches of the whole picture, faces are followed: `Detector.track`.
SEARCH_EVERY_S = 0.5

# Source: RFC 6455, 7.4.1, and IANA's registry of close codes.
_CLOSE_CODES = {
    ErrorCode.DRAINING: 1012,  # service restart: connect again
    ErrorCode.OVERLOADED: 1013,  # try again later
    ErrorCode.NOT_READY: 1013,
    ErrorCode.INTERNAL: 1011,
}
_ROUTE, _OK = "/ws", 200
_CLOSE_REFUSED = 1008  # policy violation: the same again would be refused again
_MAX_KEY_CHARACTERS = 10_000  # of the message that brings a key: megabytes of JSON would hold up the event loop
# Streams whose first message is to bring the key: strangers may send megabytes there.
_MAX_KEYLESS = 32
_MAX_REASON_CHARACTERS = 120  # RFC 6455, 5.5: 123 bytes

_logger = logging.getLogger("app.access")


@dataclass(frozen=True, slots=True)
class _Frame:
    """One binary message; `arrived_s` is event-loop time."""

    number: int
    data: bytes
    arrived_s: float


class _NewestFrame:
    """Room for one frame to wait in: a newer one takes its place.

    Args:
        on_drop: Told of every frame that had to go.
    """

    def __init__(self, on_drop: Callable[[], None]) -> None:
        self._on_drop = on_drop
        self._frame: _Frame | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self.dropped = 0

    def put(self, frame: _Frame) -> None:
        """Leaves a frame; after the end it is dropped at once."""
        self._drop()
        self._frame = frame
        if self._ended:
            self._drop()
        self._changed.set()

    def end(self) -> None:
        """Drops what waits; nothing is given out any more."""
        self._drop()
        self._ended = True
        self._changed.set()

    async def take(self) -> _Frame | None:
        """Waits for a frame; None at the end."""
        while self._frame is None and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        frame, self._frame = self._frame, None
        return frame

    def _drop(self) -> None:
        if self._frame is not None:
            self._frame = None
            self.dropped += 1
            self._on_drop()


class Stream:
    """Answers one client until it leaves, or the instance drains.

    Args:
        websocket: Not yet accepted.
        options: What the client chose, for every frame.
        smoothing: As `FaceTracker`.
    """

    def __init__(self, websocket: WebSocket, options: PredictOptions, smoothing: float) -> None:
        self._websocket = websocket
        self._service = service_of(websocket)
        self._options = options
        self._tracker = FaceTracker(smoothing)
        self._request_id: str = websocket.state.request_id
        self._waiting = _NewestFrame(self._service.metrics.frames("dropped").inc)
        self._known: tuple[FaceBox, ...] | None = None  # None: the first frame, which is searched whole
        self._new: tuple[FaceBox, ...] = ()
        self._search: asyncio.Task[None] | None = None
        self._searched_s = 0.0
        self._arrived = 0

    async def serve(self) -> None:
        """Runs the stream to its end; what ends it is told as a message, then as the reason of the close."""
        started = time.perf_counter()
        # Accepted before anything is refused: browsers tell scripts nothing of a handshake that failed.
        await self._websocket.accept(headers=[(REQUEST_ID_HEADER.lower().encode(), self._request_id.encode())])
        try:
            await self._admit()
            await self._run()
        except (WebSocketDisconnect, WebSocketDisconnected):
            pass  # the client has left
        except FerError as error:
            await self._end(error)
        except Exception as error:
            await self._end(internal_error(error, self._request_id))
        seconds = time.perf_counter() - started
        _logger.info(
            "WS /ws %d frames, %d dropped in %.1f s",
            self._arrived,
            self._waiting.dropped,
            seconds,
            extra={"request_id": self._request_id, "route": _ROUTE, "duration_ms": round(seconds * 1000, 3)},
        )

    async def _admit(self) -> None:
        """What the stream itself must pass; each of its frames needs a permit besides."""
        service = self._service
        if not has_key(service.settings, self._websocket.headers):
            if service.keyless_streams >= _MAX_KEYLESS:
                raise FerError(ErrorCode.OVERLOADED, f"{_MAX_KEYLESS} streams wait for their key; try again shortly")
            service.keyless_streams += 1
            try:
                await self._receive_key()
            finally:
                service.keyless_streams -= 1
        if service.readiness.state is State.DRAINING:
            raise _draining()
        service.require_engine()
        if service.streams >= service.settings.max_queue:
            raise FerError(ErrorCode.OVERLOADED, f"{service.settings.max_queue} streams are open; try again shortly")

    async def _receive_key(self) -> None:
        try:
            async with asyncio.timeout(self._service.settings.deadline_ms / 1000):
                key = _key_in(await self._receive())
        except TimeoutError:
            key = None
        if key is None or not key_opens(self._service.settings, key):
            raise FerError(
                ErrorCode.UNAUTHORIZED,
                "expected a valid API key in X-API-Key, in Authorization: Bearer or as api_key in a first message",
            )

    async def _run(self) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        stages = [asyncio.create_task(self._answer_frames()), asyncio.create_task(self._receive_frames())]
        service.streams += 1
        service.metrics.open_streams.inc()
        try:
            # The drain begins in a signal handler, which may do no more than wake the loop.
            with service.readiness.watch_drain(lambda: loop.call_soon_threadsafe(self._waiting.end)):
                await asyncio.gather(*stages)  # until one of them raises what ends the stream
        finally:
            service.streams -= 1
            service.metrics.open_streams.dec()
            await _end_tasks(stages if self._search is None else [*stages, self._search])
            stages.clear()  # they know what is raised here, and that knows this call: the stream would not be freed

    async def _receive_frames(self) -> None:
        """Reads on whatever is being answered, so that the frame that waits is the newest."""
        while True:
            message = await self._receive()
            if (data := message.get("bytes")) is not None:
                self._arrived += 1
                self._waiting.put(_Frame(self._arrived, data, asyncio.get_running_loop().time()))
                await asyncio.sleep(0)  # who is free to answer it takes it before a newer one could push it out
            elif self._arrived or _key_in(message) is None:  # a key that nobody asked for does no harm
                detail = "expected an image file in a binary message. Received: text"
                await self._send_error(FerError(ErrorCode.MALFORMED_REQUEST, detail), None)

    async def _receive(self) -> dict[str, Any]:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _answer_frames(self) -> None:
        """One frame after the other, so that answers keep their order and each frame knows the faces of the last.

        Raises:
            FerError: `draining`.
        """
        metrics = self._service.metrics
        while (frame := await self._waiting.take()) is not None:
            with self._service.tracing.request(self._websocket.headers) as trace:
                try:
                    answer = await self._predict(frame)
                except FerError as error:
                    trace.answered("WS", _ROUTE, STATUS[error.code], self._request_id)
                    await self._send_error(error, frame.number)
                except Exception as error:  # a fault of ours in one frame must not end the stream
                    trace.answered("WS", _ROUTE, STATUS[ErrorCode.INTERNAL], self._request_id)
                    await self._send_error(internal_error(error, self._request_id), frame.number)
                else:
                    trace.answered("WS", _ROUTE, _OK, self._request_id)
                    await self._websocket.send_text(answer.model_dump_json())
                    metrics.frames("answered").inc()
            metrics.frame_seconds.observe(asyncio.get_running_loop().time() - frame.arrived_s)
        raise _draining()

    async def _predict(self, frame: _Frame) -> FramePrediction:
        settings = self._service.settings
        if len(frame.data) > settings.max_body_bytes:
            raise FerError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"a frame may have {settings.max_body_bytes} bytes. Received: {len(frame.data)}",
            )
        with permit(self._service, len(frame.data)) as engine:
            deadline = frame.arrived_s + settings.deadline_ms / 1000
            self._begin_search(frame, engine.pipeline, deadline)
            result = await engine.pipeline.predict(frame.data, self._options, deadline, self._take_known())
        self._known = tuple(face.box for face in result.faces)
        followed = self._tracker.update(result.faces, frame.arrived_s)
        return FramePrediction.of_frame(
            replace(result, faces=tuple(tracked.face for tracked in followed)),
            [tracked.track for tracked in followed],
            ModelName.of(engine.manifest),
            self._request_id,
            frame.number,
            self._waiting.dropped,
        )

    def _take_known(self) -> tuple[FaceBox, ...] | None:
        if self._known is None:
            return None
        known, new = self._known, self._new
        self._new = ()
        return known + tuple(box for box in new if all(box.overlap(other) < MIN_OVERLAP for other in known))

    def _begin_search(self, frame: _Frame, pipeline: Pipeline, deadline: float) -> None:
        """Searches the whole picture beside following, from time to time, for faces that following does not find."""
        if frame.arrived_s - self._searched_s < SEARCH_EVERY_S or (self._search and not self._search.done()):
            return
        self._searched_s = frame.arrived_s
        if self._known is not None and self._options.detect:
            self._search = asyncio.create_task(self._find_new(frame, pipeline, deadline))

    async def _find_new(self, frame: _Frame, pipeline: Pipeline, deadline: float) -> None:
        with suppress(FerError):  # the frame's own answer says what is wrong with it
            self._new = await pipeline.find(frame.data, self._options, deadline)

    async def _send_error(self, error: FerError, frame: int | None) -> None:
        metrics = self._service.metrics
        metrics.rejections(error.code).inc()
        if frame is not None:
            metrics.frames("failed").inc()
        answer = StreamError(frame=frame, dropped=self._waiting.dropped, error=problem(error, self._request_id))
        await self._websocket.send_text(answer.model_dump_json())

    async def _end(self, error: FerError) -> None:
        with suppress(WebSocketDisconnect, WebSocketDisconnected):  # the client may leave first
            await self._send_error(error, None)
            code = _CLOSE_CODES.get(error.code, _CLOSE_REFUSED)
            await self._websocket.close(code, error.detail[:_MAX_REASON_CHARACTERS])


def _key_in(message: Mapping[str, Any]) -> str | None:
    """The API key in a stream's first message; None where it holds none."""
    text = message.get("text") or ""
    if len(text) > _MAX_KEY_CHARACTERS:
        return None
    try:
        return StreamKey.model_validate_json(text).api_key
    except ValidationError:
        return None


async def _end_tasks(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks)
    for task in done:
        if not task.cancelled():
            task.exception()  # taken, so that asyncio does not log what ended the stream as well


def _draining() -> FerError:
    return FerError(ErrorCode.DRAINING, "draining: the instance is shutting down; connect again")
