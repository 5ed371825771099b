"""The service's answers as frozen dataclasses. Fields that a newer service adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Box:
    """A face box in pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Face:
    """One face and its apparent expression.

    Attributes:
        box: Where it is.
        detection_confidence: The cascade's weight, no probability; None with `detect=False`.
        emotion: The label with the highest score.
        confidence: That score, 0 to 1.
        scores: Every label's, 0 to 1, summing to 1.
    """

    box: Box
    detection_confidence: float | None
    emotion: str
    confidence: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which model answered."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall time by stage in the service, in milliseconds."""

    decode: float
    detect: float
    queue: float
    infer: float
    total: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the service says of one image. `faces` is sorted largest first.

    Attributes:
        faces: All of them.
        width_px: Of the upright image.
        height_px: Of the upright image.
        model: Which one answered.
        timings_ms: By stage.
        request_id: For the service's log.
        warnings: Such as `no_face_detected`.
    """

    faces: tuple[Face, ...]
    width_px: int
    height_px: int
    model: ModelName
    timings_ms: Timings
    request_id: str
    warnings: tuple[str, ...]

    @property
    def emotion(self) -> str | None:
        """The largest face's; None without a face."""
        return self.faces[0].emotion if self.faces else None

    @property
    def confidence(self) -> float | None:
        """The largest face's; None without a face."""
        return self.faces[0].confidence if self.faces else None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Prediction:
        """Reads the JSON of `POST /predict`.

        Raises:
            KeyError, TypeError: It is something else.
        """
        timings = document["timings_ms"]
        return cls(
            faces=tuple(_face(face) for face in document["faces"]),
            width_px=document["image"]["width"],
            height_px=document["image"]["height"],
            model=ModelName(document["model"]["name"], document["model"]["version"]),
            timings_ms=Timings(*(timings[stage] for stage in ("decode", "detect", "queue", "infer", "total"))),
            request_id=document["request_id"],
            warnings=tuple(document["warnings"]),
        )


def _face(document: Mapping[str, Any]) -> Face:
    box = document["box"]
    return Face(
        box=Box(box["x"], box["y"], box["width"], box["height"]),
        detection_confidence=document["detection_confidence"],
        emotion=document["emotion"],
        confidence=document["confidence"],
        scores=dict(document["scores"]),
    )
