"""Responses of the service as frozen dataclasses. Unknown fields of newer services are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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
        emotion: Label with the highest score.
        confidence: Highest score, from 0 to 1.
        scores: Score of every label, from 0 to 1; the sum is 1.
        roll_degrees: Angle of the face in the image plane, positive clockwise; None if the service does not know it.
        landmarks: Five points of the face; None if the service does not know them.
    """

    box: Box
    detection_confidence: float | None
    emotion: str
    confidence: float
    scores: Mapping[str, float]
    roll_degrees: float | None = None
    landmarks: Landmarks | None = None


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
    def from_json(cls, document: Mapping[str, Any]) -> Prediction:
        """Convert the JSON object of `POST /predict`.

        Raises:
            KeyError, TypeError: The object does not have the expected fields.
        """
        timings = document["timings_ms"]
        return cls(
            faces=tuple(_face(face) for face in document["faces"]),
            image=ImageSize(document["image"]["width"], document["image"]["height"]),
            model=Model(document["model"]["name"], document["model"]["version"]),
            timings_ms=Timings(
                timings.get("vision_queue", 0.0),
                *(timings[stage] for stage in ("decode", "detect", "queue", "infer", "total")),
            ),
            request_id=document["request_id"],
            warnings=tuple(document["warnings"]),
            hint=document.get("hint"),
        )


def _face(document: Mapping[str, Any]) -> Face:
    box, landmarks = document["box"], document.get("landmarks")
    return Face(
        box=Box(box["x"], box["y"], box["width"], box["height"]),
        detection_confidence=document["detection_confidence"],
        emotion=document["emotion"],
        confidence=document["confidence"],
        scores=dict(document["scores"]),
        roll_degrees=document.get("roll_degrees"),
        landmarks=None if landmarks is None else _landmarks(landmarks),
    )


def _landmarks(document: Mapping[str, Any]) -> Landmarks:
    points = {field.name: document[field.name] for field in fields(Landmarks)}
    return Landmarks(**{name: Point(point["x"], point["y"]) for name, point in points.items()})
