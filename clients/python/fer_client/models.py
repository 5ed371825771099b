"""Responses of the service as frozen dataclasses. Unknown fields of newer services are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Box:
    """Face box in pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Point:
    """Position in pixels of the upright image."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five points of a face. Right and left are the person's own."""

    right_eye: Point
    left_eye: Point
    nose: Point
    right_mouth_corner: Point
    left_mouth_corner: Point


@dataclass(frozen=True, slots=True)
class Face:
    """One face and its apparent expression.

    Attributes:
        box: Position of the face.
        detection_confidence: Probability that the box shows a face, 0 to 1; None with `detect=False`.
        emotion: Label with the highest score; `"uncertain"` if the score is below `min_confidence`.
        confidence: Highest score, from 0 to 1.
        scores: Score of every label, from 0 to 1; the sum is 1.
        roll_degrees: Angle of the face in the image plane, positive clockwise; None if it is not estimated.
        landmarks: Five points of the face; None if they are not found.
        prediction_set: With `coverage`: the emotions that hold the label with this frequency, most probable first.
            None without `coverage`.
        track: Number of the face in a stream; None outside of streams.
    """

    box: Box
    detection_confidence: float | None
    emotion: str
    confidence: float
    scores: Mapping[str, float]
    roll_degrees: float | None = None
    landmarks: Landmarks | None = None
    prediction_set: tuple[str, ...] | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Size of the upright image in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Model:
    """Name and version of the model that classified the faces."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall time of each stage in the service, in milliseconds.

    Attributes:
        vision_queue: Wait for a vision thread; 0 if the service does not report this stage.
        decode: Decoding of the image.
        detect: Face detection.
        queue: Wait of the faces for the model.
        infer: Model run.
        total: Time from admission to the response.
    """

    vision_queue: float
    decode: float
    detect: float
    queue: float
    infer: float
    total: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Result of one image.

    Attributes:
        faces: Detected faces, largest first.
        image: Size of the upright image.
        model: Model that classified the faces.
        timings_ms: Time of each stage.
        request_id: Identifier of the request in the service's log.
        warnings: Warning codes, such as `no_face_detected`.
        hint: What you can do about the warnings; None if there is nothing to do.
    """

    faces: tuple[Face, ...]
    image: ImageSize
    model: Model
    timings_ms: Timings
    request_id: str
    warnings: tuple[str, ...]
    hint: str | None = None

    @property
    def emotion(self) -> str | None:
        """Emotion of the largest face; None if there is no face."""
        return self.faces[0].emotion if self.faces else None

    @property
    def confidence(self) -> float | None:
        """Confidence of the largest face's emotion; None if there is no face."""
        return self.faces[0].confidence if self.faces else None

    @property
    def scores(self) -> Mapping[str, float] | None:
        """Scores of the largest face; None if there is no face."""
        return self.faces[0].scores if self.faces else None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Convert the JSON object of `POST /predict`.

        Raises:
            KeyError, TypeError: The object does not have the expected fields.
        """
        return cls(**cls._fields(document))

    @classmethod
    def _fields(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        timings = document["timings_ms"]
        return {
            "faces": tuple(_face(face) for face in document["faces"]),
            "image": ImageSize(document["image"]["width"], document["image"]["height"]),
            "model": Model(document["model"]["name"], document["model"]["version"]),
            "timings_ms": Timings(
                timings.get("vision_queue", 0.0),
                *(timings[stage] for stage in ("decode", "detect", "queue", "infer", "total")),
            ),
            "request_id": document["request_id"],
            "warnings": tuple(document["warnings"]),
            "hint": document.get("hint"),
        }


@dataclass(frozen=True, slots=True)
class FramePrediction(Prediction):
    """Result of one frame of a stream. Each face has a `track`.

    Attributes:
        frame: Number of the frame in its stream, from 1.
        dropped: Number of frames of the stream that the service has dropped so far.
    """

    frame: int = 0
    dropped: int = 0

    @classmethod
    def _fields(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        # Not `super()`: a dataclass with slots is a copy of the class to which `super()` refers.
        return {**Prediction._fields(document), "frame": document["frame"], "dropped": document["dropped"]}


def _face(document: Mapping[str, Any]) -> Face:
    box, landmarks, prediction_set = document["box"], document.get("landmarks"), document.get("prediction_set")
    return Face(
        box=Box(box["x"], box["y"], box["width"], box["height"]),
        detection_confidence=document["detection_confidence"],
        emotion=document["emotion"],
        confidence=document["confidence"],
        scores=dict(document["scores"]),
        roll_degrees=document.get("roll_degrees"),
        landmarks=None if landmarks is None else _landmarks(landmarks),
        prediction_set=None if prediction_set is None else tuple(prediction_set),
        track=document.get("track"),
    )


def _landmarks(document: Mapping[str, Any]) -> Landmarks:
    points = {field.name: document[field.name] for field in fields(Landmarks)}
    return Landmarks(**{name: Point(point["x"], point["y"]) for name, point in points.items()})
