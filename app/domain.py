"""The nouns of the service as frozen dataclasses: what the pipeline produces and the API renders.

Standard library only; knows nothing of HTTP, pixels or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaceBox:
    """An axis-aligned square or rectangle in pixels of the upright image; x grows right, y grows down."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area_px(self) -> int:
        """Area in pixels."""
        return self.width * self.height


def overlap(one: FaceBox, other: FaceBox) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (one.area_px + other.area_px - width * height)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face box with the cascade's own weight (higher is surer; not a probability)."""

    box: FaceBox
    weight: float


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What a caller may choose for one image.

    Attributes:
        detect: False where the image is already one cropped face.
        max_faces: Keep the largest N.
        min_face_size_px: Drop faces of a smaller side, in pixels of the upright image.
        require_face: Make an image without a face an error.
    """

    detect: bool = True
    max_faces: int = 100
    min_face_size_px: int = 0
    require_face: bool = False


@dataclass(frozen=True, slots=True)
class FaceEmotion:
    """One classified face.

    Attributes:
        box: Where the face is.
        detection_confidence: The cascade's weight, or None where no detector ran.
        scores: Calibrated probability (0 to 1) of every label, in FER2013 order; they sum to 1.
        emotion: The label with the highest score.
        confidence: That score.
    """

    box: FaceBox
    detection_confidence: float | None
    scores: Mapping[str, float]
    emotion: str
    confidence: float


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Wall time of each stage of one image, in milliseconds. `queue_ms` and `infer_ms` are of its slowest face."""

    decode_ms: float
    detect_ms: float
    queue_ms: float
    infer_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Everything the service says about one image. `faces` is sorted largest first."""

    faces: tuple[FaceEmotion, ...]
    width_px: int
    height_px: int
    timings: StageTimings
    warnings: tuple[str, ...] = ()
