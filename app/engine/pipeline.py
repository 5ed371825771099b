"""One image from bytes to faces with emotions: decode, detect, crop, batch, assemble.

Owns the vision threads' work and the deadline of a request. Knows no HTTP; the detector and the batcher are handed in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.preprocess import GreyImage, crop_face, resize_to_crop
from app.contract.scores import probabilities
from app.domain import Detection, FaceBox, FaceEmotion, ImageResult, PredictOptions, StageTimings
from app.engine.scheduler import Lanes
from app.errors import ErrorCode, FerError
from app.inference.batcher import Batched, Batcher, BatcherStoppedError
from app.observability.metrics import Metrics
from app.vision.decode import decode_grey

NO_FACE_WARNING = "no_face_detected"

Scores = npt.NDArray[np.float64]
Logits = npt.NDArray[np.float32]


class Detector(Protocol):
    """Finds faces; `app.vision.detection.detector.FaceDetector` is the real one."""

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Faces of an upright grey image, uint8 (H, W), largest first. Called by several threads at once."""

    def track(self, grey: GreyImage, known: Sequence[FaceBox]) -> list[Detection]:
        """The same for a video's next picture, cheaper: known faces are looked for near where they were."""


@dataclass(frozen=True, slots=True)
class _Found:
    box: FaceBox
    weight: float | None
    crop: GreyImage


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the vision stages made of one image. Times are of `time.perf_counter()`."""

    started: float
    width_px: int
    height_px: int
    faces: tuple[_Found, ...]
    decode_s: float
    detect_s: float


class Pipeline:
    """Predicts single images, and runs the bare network on crops. All methods are called on one event loop.

    Args:
        detector: Finds the faces.
        batcher: Gives the logits of crops, gathered over all requests.
        vision: Threads for decoding and detection.
        metrics: Told of stages, faces and predictions.
        max_pixels: Largest image that is decoded.
        temperature: Calibrates the logits.
        on_stage: Told of every stage of an image: its name, its start by `time.perf_counter()`, and its seconds.
    """

    def __init__(
        self,
        detector: Detector,
        batcher: Batcher[GreyImage, Logits],
        vision: Lanes,
        metrics: Metrics,
        max_pixels: int,
        temperature: float,
        on_stage: Callable[[str, float, float], None] = lambda name, started, seconds: None,
    ) -> None:
        self._detector = detector
        self._batcher = batcher
        self._vision = vision
        self._metrics = metrics
        self._max_pixels = max_pixels
        self._temperature = temperature
        self._on_stage = on_stage

    async def predict(
        self, data: bytes, options: PredictOptions, deadline: float, known: Sequence[FaceBox] | None = None
    ) -> ImageResult:
        """Finds and scores the faces of one encoded image.

        Args:
            data: The image file's bytes.
            options: What the caller chose.
            deadline: Event-loop time by which the answer must be there.
            known: Faces of the picture before, where the image is a video's next one: `Detector.track` finds its
                faces. None searches all of it.

        Raises:
            FerError: The image cannot be used, it has no face where one is required, the deadline passed, or the
                model does not run.
        """
        started = time.perf_counter()
        async with _within(deadline):
            # Past the deadline this is cancelled: a job that still waits for a thread is then never run.
            seen = await self._vision.run(len(data), self._see, data, options, known)
            # Told at once: of an image that fails or is late after this, the stages it went through are still known.
            self._note_stage("decode", seen.started, seen.decode_s)
            self._note_stage("detect", seen.started + seen.decode_s, seen.detect_s)
            submitted = time.perf_counter()
            scored = await self._score([face.crop for face in seen.faces], deadline)
        result = _assemble(seen, scored, self._temperature, time.perf_counter() - started)
        self._count(submitted, result)
        if not result.faces and options.require_face:
            raise FerError(ErrorCode.NO_FACE_DETECTED, "require_face is true and no face was found in the image")
        return result

    async def find(self, data: bytes, options: PredictOptions, deadline: float) -> tuple[FaceBox, ...]:
        """Finds the faces of one encoded image in the whole of it, and scores none.

        Args:
            data: The image file's bytes.
            options: What the caller chose; `require_face` is not looked at.
            deadline: Event-loop time by which the boxes must be there.

        Raises:
            FerError: The image cannot be used, or the deadline passed.
        """
        async with _within(deadline):
            seen = await self._vision.run(len(data), self._see, data, options, None)
        return tuple(face.box for face in seen.faces)

    async def logits(self, crops: npt.NDArray[np.uint8], deadline: float) -> Logits:
        """Runs the bare network, in the same queue and batches as images.

        Args:
            crops: uint8 (N, 48, 48, 1), made as `app.contract.preprocess` makes them; N at least 1.
            deadline: As `predict`.

        Returns:
            float32 (N, 7): as the network gives them, before the temperature.

        Raises:
            FerError: The deadline passed or the model does not run.
        """
        async with _within(deadline):
            scored = await self._score(list(crops), deadline)
        return np.stack([batched.result for batched in scored])

    def wait_s(self, size_bytes: float) -> float:
        """How long an image file of a size that came now would wait, for a thread and for the model."""
        return self._vision.wait_s(size_bytes) + self._batcher.wait_s

    def standing_s(self, size_bytes: float) -> float:
        """For how long, in seconds, such files have always had others before them."""
        return self._vision.standing_s(size_bytes)

    @property
    def oldest_work(self) -> tuple[object | None, object | None]:
        """What a vision thread has had for longest, and what the model runs on: for seeing whether it moves."""
        return self._vision.oldest, self._batcher.running

    def _see(self, data: bytes, options: PredictOptions, known: Sequence[FaceBox] | None) -> _Seen:
        """The stages that run in a vision thread."""
        started = time.perf_counter()
        grey = decode_grey(data, self._max_pixels)
        decoded = time.perf_counter()
        height, width = grey.shape
        if options.detect:
            found = self._detector.detect(grey) if known is None else self._detector.track(grey, known)
            chosen = _choose(found, options)
            faces = tuple(_Found(face.box, face.weight, crop_face(grey, face.box)) for face in chosen)
        else:
            faces = (_Found(FaceBox(0, 0, width, height), None, resize_to_crop(grey)),)
        return _Seen(started, width, height, faces, decoded - started, time.perf_counter() - decoded)

    async def _score(self, crops: Sequence[GreyImage], deadline: float) -> list[Batched[Logits]]:
        futures = [self._batcher.submit(crop, deadline) for crop in crops]
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:  # after one failed, the others are not worth running
                future.cancel()

    def _note_stage(self, name: str, started: float, seconds: float) -> None:
        self._metrics.stage_seconds(name).observe(seconds)
        self._on_stage(name, started, seconds)

    def _count(self, submitted: float, result: ImageResult) -> None:
        if result.faces:
            queue_s, infer_s = result.timings.queue_ms / 1000, result.timings.infer_ms / 1000
            self._note_stage("queue", submitted, queue_s)
            self._note_stage("infer", submitted + queue_s, infer_s)
        self._metrics.faces_per_image.observe(len(result.faces))
        for face in result.faces:
            self._metrics.predictions(face.emotion).inc()
            self._metrics.confidence.observe(face.confidence)


@asynccontextmanager
async def _within(deadline: float) -> AsyncIterator[None]:
    """Ends what takes too long, and gives the failures of waiting their codes."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise FerError(
            ErrorCode.DEADLINE_EXCEEDED, "the answer was not ready within the deadline, queue time included"
        ) from None
    except BatcherStoppedError:
        raise FerError(ErrorCode.NOT_READY, "the model does not run in this instance") from None


def _choose(detections: Sequence[Detection], options: PredictOptions) -> Sequence[Detection]:
    large_enough = [
        detection
        for detection in detections
        if min(detection.box.width, detection.box.height) >= options.min_face_size_px
    ]
    return large_enough[: options.max_faces]


def _assemble(seen: _Seen, scored: Sequence[Batched[Logits]], temperature: float, total_s: float) -> ImageResult:
    logits = np.stack([batched.result for batched in scored]) if scored else np.empty((0, len(LABELS)))
    scores = probabilities(logits, temperature)
    faces = tuple(_name(found, row) for found, row in zip(seen.faces, scores, strict=True))
    return ImageResult(
        faces=faces,
        width_px=seen.width_px,
        height_px=seen.height_px,
        timings=StageTimings(
            decode_ms=seen.decode_s * 1000,
            detect_ms=seen.detect_s * 1000,
            queue_ms=max((batched.queue_s for batched in scored), default=0.0) * 1000,
            infer_ms=max((batched.run_s for batched in scored), default=0.0) * 1000,
            total_ms=total_s * 1000,
        ),
        warnings=() if faces else (NO_FACE_WARNING,),
    )


def _name(found: _Found, scores: Scores) -> FaceEmotion:
    values: list[float] = scores.tolist()
    confidence = max(values)
    return FaceEmotion(
        box=found.box,
        detection_confidence=found.weight,
        scores=dict(zip(LABELS, values, strict=True)),
        emotion=LABELS[values.index(confidence)],
        confidence=confidence,
    )
