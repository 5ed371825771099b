"""Response models of `POST /analyze`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from app.domain import FaceEmotion, ImageResult

_PERCENT_DIGITS = 4

EXAMPLE: dict[str, Any] = {
    "results": [
        {
            "emotion": {
                "angry": 0.7247,
                "disgust": 1.0171,
                "fear": 0.8691,
                "happy": 93.3316,
                "sad": 0.8856,
                "surprise": 1.2061,
                "neutral": 1.9658,
            },
            "dominant_emotion": "happy",
            "region": {"x": 176, "y": 66, "w": 96, "h": 96, "left_eye": None, "right_eye": None},
            "face_confidence": 0.98,
        }
    ]
}


class Region(BaseModel):
    """Box and eyes of a face in pixels of the upright image. Left and right are the person's own.

    The eyes are null if the detector of the service does not find them (`haar`).
    """

    x: int
    y: int
    w: int
    h: int
    left_eye: tuple[int, int] | None = None
    right_eye: tuple[int, int] | None = None

    @classmethod
    def of(cls, face: FaceEmotion) -> Self:
        """Return the place of one face."""
        box = face.box
        eyes: dict[str, tuple[int, int]] = {}
        if face.landmarks is not None:
            right, left = ((round(point.x), round(point.y)) for point in face.landmarks[:2])
            eyes = {"left_eye": left, "right_eye": right}
        return cls(x=box.x, y=box.y, w=box.width, h=box.height, **eyes)


class Analysis(BaseModel):
    """One face."""

    emotion: dict[str, float] = Field(description="percent, in DeepFace's order; the values sum to 100")
    dominant_emotion: str
    region: Region
    face_confidence: float = Field(
        description="probability that the box shows a face; 0 if no face was found or no detection was requested"
    )

    @classmethod
    def of(cls, face: FaceEmotion) -> Self:
        """Return one classified face as DeepFace describes it."""
        confidence = face.detection_confidence
        return cls(
            emotion={label: round(100 * score, _PERCENT_DIGITS) for label, score in face.scores.items()},
            dominant_emotion=face.emotion,
            region=Region.of(face),
            face_confidence=0.0 if confidence is None else round(confidence, 2),
        )


class Analyses(BaseModel):
    """The answer of `POST /analyze`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    results: list[Analysis]

    @classmethod
    def of(cls, result: ImageResult) -> Self:
        """Return the result of one image as DeepFace answers it."""
        return cls(results=[Analysis.of(face) for face in result.faces])
