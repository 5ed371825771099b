"""The wire models: what JSON goes out, with the examples that the OpenAPI document shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contract.labels import LABELS, Emotion
from app.contract.manifest import Manifest, SplitMetrics
from app.domain import FaceEmotion, ImageResult
from app.errors import ErrorCode

_EMOTIONS = {emotion.value: emotion for emotion in Emotion}  # a tenth of the time of calling the class
_SCORE_DIGITS = 6
_TIME_DIGITS = 3

EXAMPLE_SCORES = dict(zip(LABELS, (0.01, 0.0, 0.01, 0.93, 0.01, 0.02, 0.02), strict=True))
EXAMPLE_FACE: dict[str, Any] = {
    "box": {"x": 112, "y": 80, "width": 96, "height": 96},
    "detection_confidence": 6.1,
    "emotion": "happy",
    "confidence": 0.93,
    "scores": EXAMPLE_SCORES,
}
EXAMPLE_PREDICTION: dict[str, Any] = {
    "emotion": "happy",
    "confidence": 0.93,
    "scores": EXAMPLE_SCORES,
    "faces": [EXAMPLE_FACE],
    "image": {"width": 640, "height": 480},
    "model": {"name": "fer_vgg", "version": "2026.11.1"},
    "timings_ms": {"decode": 1.2, "detect": 8.9, "queue": 0.1, "infer": 2.4, "total": 12.9},
    "request_id": "5f0c9a7e3b1d4c1f8e2a6b7c8d9e0f1a",
    "warnings": [],
}

_EXAMPLE_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EXAMPLE_RELOADED: dict[str, Any] = {
    "model": EXAMPLE_PREDICTION["model"],
    "sha256": _EXAMPLE_SHA256,
    "replaced": True,
    "request_id": EXAMPLE_PREDICTION["request_id"],
}
EXAMPLE_INFO: dict[str, Any] = {
    **EXAMPLE_PREDICTION["model"],
    "sha256": _EXAMPLE_SHA256,
    "labels": list(LABELS),
    "preprocess_id": "grey48-box1.04-area-v1",
    "temperature": 1.2,
    "provider": "CPUExecutionProvider",
    "commit": "e61438956d40074cbe20a166a320bc8be846bec6",
    "metrics": {},
    "limits": {
        "max_body_bytes": 10_485_760,
        "max_pixels": 40_000_000,
        "max_images": 32,
        "max_batch": 64,
        "max_queue": 256,
        "deadline_ms": 5000,
    },
}

Probability = Annotated[float, Field(ge=0, le=1)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True)


class Box(_Wire):
    """A face box in pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


class Face(_Wire):
    """One face and its apparent expression."""

    box: Box
    detection_confidence: float | None = Field(
        description="the cascade's own weight (higher is surer), no probability; null with detect=false"
    )
    emotion: Emotion
    confidence: Probability
    scores: dict[Emotion, Probability] = Field(description="all seven labels, summing to 1")


class ImageSize(_Wire):
    """The upright image, in pixels."""

    width: int
    height: int


class ModelName(_Wire):
    """Which model answered."""

    name: str
    version: str

    @classmethod
    def of(cls, manifest: Manifest) -> ModelName:
        """The name in a model's manifest."""
        return cls(name=manifest.contract.name, version=manifest.contract.version)


class Timings(_Wire):
    """Wall time by stage, in milliseconds."""

    decode: float
    detect: float
    queue: float
    infer: float
    total: float


class Prediction(_Wire):
    """The faces of one image. The top-level emotion, confidence and scores repeat the largest face's."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PREDICTION]})

    emotion: Emotion | None
    confidence: Probability | None
    scores: dict[Emotion, Probability] | None
    faces: tuple[Face, ...] = Field(description="largest first")
    image: ImageSize
    model: ModelName
    timings_ms: Timings
    request_id: str
    warnings: list[str]

    @classmethod
    def of(cls, result: ImageResult, model: ModelName, request_id: str) -> Prediction:
        """Renders the domain's result for one request."""
        faces = tuple(_face(face) for face in result.faces)
        largest = faces[0] if faces else None
        timings = result.timings
        return cls(
            emotion=largest.emotion if largest else None,
            confidence=largest.confidence if largest else None,
            scores=largest.scores if largest else None,
            faces=faces,
            image=ImageSize(width=result.width_px, height=result.height_px),
            model=model,
            timings_ms=Timings(
                decode=round(timings.decode_ms, _TIME_DIGITS),
                detect=round(timings.detect_ms, _TIME_DIGITS),
                queue=round(timings.queue_ms, _TIME_DIGITS),
                infer=round(timings.infer_ms, _TIME_DIGITS),
                total=round(timings.total_ms, _TIME_DIGITS),
            ),
            request_id=request_id,
            warnings=list(result.warnings),
        )


class Problem(_Wire):
    """An error (RFC 9457), with `code` for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    request_id: str


class BatchEntryError(_Wire):
    """One image of a batch that could not be answered."""

    error: Problem


class BatchPrediction(_Wire):
    """The answer of `POST /predict/batch`: one result or one error for each image, in input order."""

    results: list[Prediction | BatchEntryError]
    model: ModelName
    request_id: str


class FollowedFace(Face):
    """A face of a stream."""

    track: int = Field(description="the same for the same face in frame after frame")


class FramePrediction(Prediction):
    """The answer to one frame of a stream: that of `POST /predict`, and where the stream stands."""

    faces: tuple[FollowedFace, ...] = Field(description="largest first")
    frame: int = Field(description="1 for the first frame that arrived")
    dropped: int = Field(description="frames of this stream that were dropped until now")

    @classmethod
    def of_frame(
        cls, result: ImageResult, tracks: Sequence[int], model: ModelName, request_id: str, frame: int, dropped: int
    ) -> FramePrediction:
        """Renders the domain's result for one frame; `tracks` has the number of each of its faces."""
        prediction = Prediction.of(result, model, request_id)
        faces = tuple(
            FollowedFace(**dict(face), track=track) for face, track in zip(prediction.faces, tracks, strict=True)
        )
        return cls(**(dict(prediction) | {"faces": faces}), frame=frame, dropped=dropped)


class StreamError(_Wire):
    """What a stream says instead of an answer."""

    frame: int | None = Field(description="null where it is about the stream, not about one frame")
    dropped: int
    error: Problem


class StreamKey(_Wire):
    """The first message of a client that cannot set headers, as scripts of web pages cannot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: str


class Health(_Wire):
    """Liveness."""

    status: Literal["ok"]


class Ready(_Wire):
    """Readiness."""

    status: Literal["ready"]


class Reloaded(_Wire):
    """The model that serves after a reload."""

    model: ModelName
    sha256: str
    replaced: bool = Field(description="false: the files are those that served already")
    request_id: str


class Limits(_Wire):
    """The limits in force."""

    max_body_bytes: int
    max_pixels: int
    max_images: int
    max_batch: int
    max_queue: int
    deadline_ms: int


class Info(_Wire):
    """What serves here."""

    name: str
    version: str
    sha256: str
    labels: list[str]
    preprocess_id: str
    temperature: float
    provider: str = Field(description="the execution provider in use")
    commit: str = Field(description="of the training code")
    metrics: Mapping[str, SplitMetrics] = Field(description="measured on this very file, by split")
    limits: Limits

    @classmethod
    def of(cls, manifest: Manifest, provider: str, limits: Limits) -> Info:
        """Renders a model's manifest."""
        contract = manifest.contract
        return cls(
            name=contract.name,
            version=contract.version,
            sha256=manifest.sha256,
            labels=list(contract.labels),
            preprocess_id=contract.preprocess_id,
            temperature=contract.temperature,
            provider=provider,
            commit=manifest.provenance.commit,
            metrics=manifest.metrics,
            limits=limits,
        )


def _face(face: FaceEmotion) -> Face:
    weight = face.detection_confidence
    return Face(
        box=Box(x=face.box.x, y=face.box.y, width=face.box.width, height=face.box.height),
        detection_confidence=None if weight is None else round(weight, _TIME_DIGITS),
        emotion=_EMOTIONS[face.emotion],
        confidence=round(face.confidence, _SCORE_DIGITS),
        scores={_EMOTIONS[label]: round(score, _SCORE_DIGITS) for label, score in face.scores.items()},
    )
