"""The responses of `/predict` and `/predict/batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType

from app import domain
from app.api.schemas import examples
from app.api.schemas.base import Document, ModelName, Probability
from app.api.schemas.problem import Problem
from app.contract.labels import Emotion
from app.contract.prediction_sets import prediction_set
from app.domain import UNCERTAIN, Doubt, FaceEmotion, ImageResult, ImageWarning, StageTimings

Uncertain = Literal["uncertain"]

_SCORE_DIGITS = 6
_PIXEL_DIGITS = 1  # of points and angles
_DIGITS = 3  # of times


class Box(Document):
    """A face box in pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


class Point(Document):
    """A position in pixels of the upright image."""

    x: float
    y: float


class Landmarks(Document):
    """Five points of a face. Right and left are the person's own: the right eye is on the left of a picture."""

    right_eye: Point
    left_eye: Point
    nose: Point
    right_mouth_corner: Point
    left_mouth_corner: Point

    @classmethod
    def of(cls, landmarks: Sequence[domain.Point]) -> Landmarks:
        """Render five points, in the order of `Detection.landmarks`."""
        points = (Point(x=round(point.x, _PIXEL_DIGITS), y=round(point.y, _PIXEL_DIGITS)) for point in landmarks)
        return cls(**dict(zip(cls.model_fields, points, strict=True)))


class Face(Document):
    """One face and its apparent expression."""

    box: Box
    detection_confidence: Probability | None = Field(
        description="probability that the box shows a face; null with detect=false"
    )
    roll_degrees: float | None = Field(
        description="angle of the face in the image plane, positive clockwise as the viewer sees it, -180 to 180; null"
        " if the detector does not estimate it. The service turns faces of 15 degrees and more upright before it"
        " classifies them"
    )
    landmarks: Landmarks | None = Field(description="null if the detector does not find them")
    emotion: Emotion | Uncertain
    confidence: Probability = Field(description="the highest score, also if the emotion is uncertain")
    scores: dict[Emotion, Probability] = Field(description="all seven labels, summing to 1")
    prediction_set: list[Emotion] | None = Field(
        description="with `coverage`: the emotions that hold the label with this frequency, most probable first;"
        " otherwise null"
    )

    @classmethod
    def of(cls, face: FaceEmotion, doubt: Doubt) -> Face:
        """Render one face."""
        detected = face.detection_confidence
        return cls(
            box=Box(x=face.box.x, y=face.box.y, width=face.box.width, height=face.box.height),
            detection_confidence=None if detected is None else round(detected, _SCORE_DIGITS),
            roll_degrees=None if face.roll_degrees is None else round(face.roll_degrees, _PIXEL_DIGITS),
            landmarks=None if face.landmarks is None else Landmarks.of(face.landmarks),
            emotion=_emotion(face, doubt),
            confidence=round(face.confidence, _SCORE_DIGITS),
            scores={Emotion(label): round(score, _SCORE_DIGITS) for label, score in face.scores.items()},
            prediction_set=_prediction_set(face, doubt),
        )


def _emotion(face: FaceEmotion, doubt: Doubt) -> Emotion | Uncertain:
    emotion = doubt.emotion_of(face)
    return UNCERTAIN if emotion == UNCERTAIN else Emotion(emotion)


def _prediction_set(face: FaceEmotion, doubt: Doubt) -> list[Emotion] | None:
    if doubt.set_thresholds is None:
        return None
    return [Emotion(label) for label in prediction_set(face.scores, doubt.set_thresholds)]


class ImageSize(Document):
    """Size of the upright image, in pixels."""

    width: int
    height: int


class Timings(Document):
    """Wall time of each stage, in milliseconds."""

    vision_queue: float = Field(description="wait for a vision thread")
    decode: float
    detect: float
    queue: float = Field(description="wait of the slowest face for the model")
    infer: float
    total: float

    @classmethod
    def of(cls, timings: StageTimings) -> Timings:
        """Render the timings of one image."""
        return cls(
            vision_queue=round(timings.vision_queue_ms, _DIGITS),
            decode=round(timings.decode_ms, _DIGITS),
            detect=round(timings.detect_ms, _DIGITS),
            queue=round(timings.queue_ms, _DIGITS),
            infer=round(timings.infer_ms, _DIGITS),
            total=round(timings.total_ms, _DIGITS),
        )


class Prediction(Document):
    """The faces of one image. The top-level emotion, confidence and scores repeat those of the largest face."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PREDICTION]})

    emotion: Emotion | Uncertain | None
    confidence: Probability | None
    scores: dict[Emotion, Probability] | None
    faces: tuple[Face, ...] = Field(description="largest first")
    image: ImageSize
    model: ModelName
    timings_ms: Timings
    request_id: str
    warnings: list[ImageWarning] = Field(
        description="`no_face_detected`: `faces` is empty. `truncated`: the end of the image file is missing, and the"
        " missing part is grey. `small_image`: no face was found, and no side of the image has 160 pixels; for a"
        " cropped face send `detect=false`, and the whole image is classified as one face. The list is closed"
    )
    hint: str | None = Field(
        default=None,
        exclude_if=lambda hint: hint is None,
        description="what the caller can do about the warnings; absent if there is nothing to do",
    )

    @classmethod
    def of(cls, result: ImageResult, request_id: str) -> Prediction:
        """Render the result for one image."""
        faces = tuple(Face.of(face, result.doubt) for face in result.faces)
        largest = faces[0] if faces else None
        return cls(
            emotion=largest.emotion if largest else None,
            confidence=largest.confidence if largest else None,
            scores=largest.scores if largest else None,
            faces=faces,
            image=ImageSize(width=result.width_px, height=result.height_px),
            model=ModelName.of(result.model),
            timings_ms=Timings.of(result.timings),
            request_id=request_id,
            warnings=list(result.warnings),
            hint=result.hint,
        )


class BatchEntryError(Document):
    """The error of one image of a batch."""

    error: Problem


class _OneOf:
    """Document a union as `oneOf`: generators of clients merge the types of Pydantic's `anyOf` into one."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        return {"oneOf": schema["anyOf"]}


BatchEntry = TypeAliasType("BatchEntry", Annotated[Prediction | BatchEntryError, _OneOf()])


class BatchPrediction(Document):
    """The response of `POST /predict/batch`: one result or one error for each image, in input order."""

    results: list[BatchEntry]
    model: ModelName
    request_id: str
