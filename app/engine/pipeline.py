"""One image from bytes to faces with emotions: the vision stages in a thread, then the model in batches.

A pipeline belongs to one loaded model. It enforces the deadline of a request over both queues.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.manifest import Manifest
from app.contract.preprocess import GreyImage
from app.contract.scores import probabilities
from app.domain import Doubt, FaceBox, FaceEmotion, ImageResult, ImageWarning, ModelName, PredictOptions, StageTimings
from app.engine.scheduler import FairScheduler
from app.engine.vision_stages import CroppedFace, Detector, VisionResult, run_vision_stages
from app.errors import ErrorCode, FerError
from app.inference.batcher import Batched, Batcher, BatcherStoppedError
from app.observability.metrics import Metrics

SMALL_IMAGE_PX = 160  # images without a longer side are often crops of faces

Scores = npt.NDArray[np.float64]
Logits = npt.NDArray[np.float32]
OnStage = Callable[[str, float, float], None]


class Pipeline:
    """Predict single images, and run the bare model on crops. Call all methods on one event loop.

    Args:
        detector: Face detector.
        batcher: Runs the model on crops of all requests together.
        scheduler: Runs the vision stages in threads.
        metrics: Collectors for stages, faces and predictions.
        max_pixels: Largest image to decode.
        manifest: Name, version, temperature and prediction sets of the model.
        on_stage: Receives the name, the start (`time.perf_counter()`) and the seconds of each stage, for traces.
    """

    def __init__(
        self,
        detector: Detector,
        batcher: Batcher[GreyImage, Logits],
        scheduler: FairScheduler,
        metrics: Metrics,
        max_pixels: int,
        manifest: Manifest,
        on_stage: OnStage = lambda name, started, seconds: None,
    ) -> None:
        self._detector = detector
        self._batcher = batcher
        self._scheduler = scheduler
        self._metrics = metrics
        self._max_pixels = max_pixels
        contract = manifest.contract
        self._model = ModelName(contract.name, contract.version)
        self._temperature = contract.temperature
        self._set_thresholds = {float(key): sets.thresholds for key, sets in manifest.prediction_sets.items()}
        self._on_stage = on_stage

    async def predict(
        self,
        data: bytes,
        options: PredictOptions,
        deadline: float,
        known: Sequence[FaceBox] | None = None,
        *,
        bulk: bool = False,
    ) -> ImageResult:
        """Find and classify the faces of one image file.

        Args:
            data: The image file.
            options: Options of the caller.
            deadline: Latest time of the result, in event-loop time.
            known: Faces of the previous frame, if the image is the next frame of a video: detection searches near
                them. None searches the whole image.
            bulk: Whether the image waits behind other work in both queues.

        Raises:
            FerError: The image cannot be used, a required face is missing, the deadline passed, or the model does not
                run.
        """
        submitted = time.perf_counter()
        doubt = self._doubt(options)
        async with _within(deadline):
            vision, vision_queue_s = await self._run_vision(data, options, known, submitted, bulk)
            queued = time.perf_counter()
            batched = await self._classify([face.crop for face in vision.faces], deadline, bulk)
        faces = _name_emotions(vision.faces, batched, self._temperature)
        timings = StageTimings(
            vision_queue_ms=vision_queue_s * 1000,
            decode_ms=vision.decode_s * 1000,
            detect_ms=vision.detect_s * 1000,
            queue_ms=max((each.queue_s for each in batched), default=0.0) * 1000,
            infer_ms=max((each.run_s for each in batched), default=0.0) * 1000,
            total_ms=(time.perf_counter() - submitted) * 1000,
        )
        warnings = vision.warnings if faces else (*vision.warnings, *_no_face_warnings(vision))
        result = ImageResult(faces, vision.width_px, vision.height_px, self._model, timings, warnings, doubt)
        self._record(result, queued)
        if not faces and options.require_face:
            raise FerError(ErrorCode.NO_FACE_DETECTED, _no_face_detail(result))
        return result

    async def find(self, data: bytes, options: PredictOptions, deadline: float) -> tuple[FaceBox, ...]:
        """Find the faces of one image file in the whole image, without classification.

        Args:
            data: The image file.
            options: Options of the caller; `require_face` has no effect.
            deadline: Latest time of the result, in event-loop time.

        Raises:
            FerError: The image cannot be used, or the deadline passed.
        """
        async with _within(deadline):
            scheduled = await self._scheduler.run(
                len(data), False, run_vision_stages, data, options, self._detector, self._max_pixels, None
            )
        return tuple(face.box for face in scheduled.result.faces)

    async def logits(self, crops: npt.NDArray[np.uint8], deadline: float, *, bulk: bool = False) -> Logits:
        """Run the bare model, in the same queue and batches as images.

        Args:
            crops: uint8 (N, 48, 48, 1), made as in `app.contract.preprocess`; N at least 1.
            deadline: Latest time of the result, in event-loop time.
            bulk: Whether the crops wait behind other work.

        Returns:
            float32 (N, 7): logits before the temperature.

        Raises:
            FerError: The deadline passed or the model does not run.
        """
        async with _within(deadline):
            batched = await self._classify(list(crops), deadline, bulk)
        return np.stack([each.result for each in batched])

    def _doubt(self, options: PredictOptions) -> Doubt:
        if options.coverage is None:
            return Doubt(options.min_confidence)
        if options.coverage not in self._set_thresholds:
            known = ", ".join(map(str, sorted(self._set_thresholds))) or "none"
            raise FerError(
                ErrorCode.INVALID_PARAMETER,
                f"coverage: the model {self._model.name} {self._model.version} has prediction sets for the coverages:"
                f" {known}. Received: {options.coverage:g}",
            )
        return Doubt(options.min_confidence, self._set_thresholds[options.coverage])

    async def _run_vision(
        self, data: bytes, options: PredictOptions, known: Sequence[FaceBox] | None, submitted: float, bulk: bool
    ) -> tuple[VisionResult, float]:
        # If the deadline cancels this call while the job waits for a thread, the job never runs.
        scheduled = await self._scheduler.run(
            len(data), bulk, run_vision_stages, data, options, self._detector, self._max_pixels, known
        )
        vision = scheduled.result
        # Recorded before the model runs, so that the stages of a request that fails or is late are known too.
        self._record_stage("vision_queue", submitted, scheduled.queue_s)
        self._record_stage("decode", vision.started, vision.decode_s)
        self._record_stage("detect", vision.started + vision.decode_s, vision.detect_s)
        return vision, scheduled.queue_s

    async def _classify(self, crops: Sequence[GreyImage], deadline: float, bulk: bool) -> list[Batched[Logits]]:
        futures = [self._batcher.submit(crop, deadline, bulk) for crop in crops]
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:  # if one fails, the results of the others have no use
                future.cancel()

    def _record(self, result: ImageResult, queued: float) -> None:
        if result.faces:
            queue_s, infer_s = result.timings.queue_ms / 1000, result.timings.infer_ms / 1000
            self._record_stage("queue", queued, queue_s)
            self._record_stage("infer", queued + queue_s, infer_s)
        self._metrics.faces_per_image.observe(len(result.faces))
        for face in result.faces:
            self._metrics.predictions(face.emotion).inc()
            self._metrics.confidence.observe(face.confidence)

    def _record_stage(self, name: str, started: float, seconds: float) -> None:
        self._metrics.stage_seconds(name).observe(seconds)
        self._on_stage(name, started, seconds)


@asynccontextmanager
async def _within(deadline: float) -> AsyncIterator[None]:
    """End the block at the deadline, and translate the failures of waiting to error codes."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise FerError(
            ErrorCode.DEADLINE_EXCEEDED, "the answer was not ready within the deadline, queue time included"
        ) from None
    except BatcherStoppedError:
        raise FerError(ErrorCode.NOT_READY, "the model does not run in this instance") from None


def _no_face_warnings(vision: VisionResult) -> tuple[ImageWarning, ...]:
    is_small = max(vision.width_px, vision.height_px) < SMALL_IMAGE_PX
    return (ImageWarning.NO_FACE_DETECTED, ImageWarning.SMALL_IMAGE)[: 2 if is_small else 1]


def _no_face_detail(result: ImageResult) -> str:
    detail = "require_face is true and no face was found in the image"
    return f"{detail}. {result.hint}" if result.hint else detail


def _name_emotions(
    faces: Sequence[CroppedFace], batched: Sequence[Batched[Logits]], temperature: float
) -> tuple[FaceEmotion, ...]:
    logits = np.stack([each.result for each in batched]) if batched else np.empty((0, len(LABELS)))
    scores = probabilities(logits, temperature)
    return tuple(_name_emotion(face, row) for face, row in zip(faces, scores, strict=True))


def _name_emotion(face: CroppedFace, scores: Scores) -> FaceEmotion:
    values: list[float] = scores.tolist()
    confidence = max(values)
    return FaceEmotion(
        box=face.box,
        detection_confidence=face.confidence,
        scores=dict(zip(LABELS, values, strict=True)),
        emotion=LABELS[values.index(confidence)],
        confidence=confidence,
        roll_degrees=face.roll_degrees,
        landmarks=face.landmarks,
    )
