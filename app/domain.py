"""The terms of the service as frozen dataclasses: what the engine produces and the API renders.

Standard library only. The module does not depend on HTTP, pixels or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

UNCERTAIN: Literal["uncertain"] = "uncertain"  # reported instead of an emotion whose score is too low


class ImageWarning(StrEnum):
    """What a caller should know about a successful result. The list is closed and part of the public API."""

    NO_FACE_DETECTED = "no_face_detected"
    TRUNCATED = "truncated"  # the end of the image file is missing
    SMALL_IMAGE = "small_image"  # no face was found, and the image is so small that it may be a cropped face


@dataclass(frozen=True, slots=True)
class FaceBox:
    """An axis-aligned rectangle in pixels of the upright image; x grows to the right, y grows downwards."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area_px(self) -> int:
        """Area in pixels."""
        return self.width * self.height

    def scaled(self, factor: float) -> FaceBox:
        """Return the box in an image whose width and height are multiplied by a factor."""
        return FaceBox(*(round(value * factor) for value in (self.x, self.y, self.width, self.height)))

    def moved_into(self, width: int, height: int) -> FaceBox:
        """Return the box moved, and shrunk if necessary, so that it is inside an image of this size."""
        box_width, box_height = min(self.width, width), min(self.height, height)
        return FaceBox(
            min(max(self.x, 0), width - box_width), min(max(self.y, 0), height - box_height), box_width, box_height
        )

    def overlap(self, other: FaceBox) -> float:
        """Return the intersection over union with another box, 0 to 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.area_px + other.area_px - width * height)


@dataclass(frozen=True, slots=True)
class Point:
    """A position in pixels of the upright image; x grows to the right, y grows downwards."""

    x: float
    y: float


def _scaled(landmarks: tuple[Point, ...] | None, factor: float) -> tuple[Point, ...] | None:
    return landmarks and tuple(Point(point.x * factor, point.y * factor) for point in landmarks)


@dataclass(frozen=True, slots=True)
class Detection:
    """A detected face.

    Attributes:
        box: Upright square with the centre and the side of the face, whatever the roll.
        confidence: Probability that the box shows a face, 0 to 1.
        roll_degrees: Angle by which the face is turned in the image plane, positive clockwise as the viewer sees it,
            -180 to 180; None if the detector does not estimate it.
        landmarks: Right eye, left eye, nose, right mouth corner and left mouth corner, where right and left are the
            person's own; None if the detector does not find them.
    """

    box: FaceBox
    confidence: float
    roll_degrees: float | None = None
    landmarks: tuple[Point, ...] | None = None

    def scaled(self, factor: float) -> Detection:
        """Return the face in an image whose width and height are multiplied by a factor."""
        return replace(self, box=self.box.scaled(factor), landmarks=_scaled(self.landmarks, factor))


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """The options of one image.

    Attributes:
        detect: False if the image is one cropped face already.
        max_faces: Number of faces to keep, largest first.
        min_face_size_px: Smallest side of a face to keep, in pixels of the upright image.
        require_face: True makes an image without a face an error.
        min_confidence: A face whose confidence is below this value (0 to 1) is uncertain.
        coverage: Frequency with which the prediction set of a face must hold the label; None for no prediction sets.
        min_detection_confidence: Smallest confidence of a face to keep, 0 to 1.
    """

    detect: bool = True
    max_faces: int = 100
    min_face_size_px: int = 0
    require_face: bool = False
    min_confidence: float = 0.0
    coverage: float | None = None
    min_detection_confidence: float = 0.5


@dataclass(frozen=True, slots=True)
class ModelName:
    """Name and version of a model, for instance `fer_vgg` `2026.11.6`."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class FaceEmotion:
    """One classified face.

    Attributes:
        box: Position of the face.
        detection_confidence: Probability that the box shows a face, 0 to 1; None if no detector ran.
        scores: Calibrated probability (0 to 1) of each label, in FER2013 order. The probabilities sum to 1.
        emotion: Label with the highest score.
        confidence: Highest score.
        roll_degrees: Roll of the face; see `Detection`.
        landmarks: Five points of the face; see `Detection`.
    """

    box: FaceBox
    detection_confidence: float | None
    scores: Mapping[str, float]
    emotion: str
    confidence: float
    roll_degrees: float | None = None
    landmarks: tuple[Point, ...] | None = None

    def scaled(self, factor: float) -> FaceEmotion:
        """Return the face in an image whose width and height are multiplied by a factor."""
        return replace(self, box=self.box.scaled(factor), landmarks=_scaled(self.landmarks, factor))


@dataclass(frozen=True, slots=True)
class Doubt:
    """How a response reports a face whose emotion is uncertain.

    Attributes:
        min_confidence: A face whose confidence is below this value (0 to 1) is uncertain.
        set_thresholds: Smallest score of each label that belongs to the prediction set; None for no prediction sets.
    """

    min_confidence: float = 0.0
    set_thresholds: Mapping[str, float] | None = None

    def emotion_of(self, face: FaceEmotion) -> str:
        """Return the emotion to report: the label with the highest score, or `UNCERTAIN`."""
        return UNCERTAIN if face.confidence < self.min_confidence else face.emotion


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Wall time of each stage of one image, in milliseconds.

    Attributes:
        vision_queue_ms: Wait for a vision thread.
        decode_ms: Decoding to the upright grey image.
        detect_ms: Detection and cropping.
        queue_ms: Wait of the slowest face for the model.
        infer_ms: Model run of the slowest face.
        total_ms: All stages, from admission to the result.
    """

    vision_queue_ms: float
    decode_ms: float
    detect_ms: float
    queue_ms: float
    infer_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The result for one image. `faces` is sorted by area, largest first."""

    faces: tuple[FaceEmotion, ...]
    width_px: int
    height_px: int
    model: ModelName
    timings: StageTimings
    warnings: tuple[ImageWarning, ...] = ()
    doubt: Doubt = Doubt()

    @property
    def hint(self) -> str | None:
        """What the caller can do about the warnings, as a sentence; None if there is nothing to do."""
        if ImageWarning.SMALL_IMAGE not in self.warnings:
            return None
        return (
            f"The image has {self.width_px}x{self.height_px} pixels. If it is a cropped face, send detect=false: the"
            " service then classifies the whole image as one face."
        )
