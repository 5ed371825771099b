"""The stages that run in a vision thread: decode one image file, detect its faces, crop them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.contract.preprocess import GreyImage, crop_face, resize_to_crop
from app.domain import Detection, FaceBox, ImageWarning, Point, PredictOptions
from app.vision.decode import decode_image


class Detector(Protocol):
    """Face detector; `app.vision.detection.FaceDetector` is the implementation."""

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Return the faces of an upright grey image, uint8 (H, W), largest first. Thread-safe."""

    def track(self, grey: GreyImage, known: Sequence[FaceBox]) -> list[Detection]:
        """Return the faces of the next frame of a video, at a lower cost: search near the known faces. Thread-safe."""


@dataclass(frozen=True, slots=True)
class CroppedFace:
    """One detected face with its crop, uint8 (48, 48, 1).

    Attributes:
        box: Position of the face.
        weight: Weight of the detection; None if no detector ran.
        crop: Input of the model. The face is upright in it if the detector knows the roll.
        roll_degrees: Roll of the face; see `Detection`.
        landmarks: Five points of the face; see `Detection`.
    """

    box: FaceBox
    weight: float | None
    crop: GreyImage
    roll_degrees: float | None = None
    landmarks: tuple[Point, ...] | None = None


@dataclass(frozen=True, slots=True)
class VisionResult:
    """Faces of one image, and the times of the vision stages.

    Attributes:
        started: Start of decoding, by `time.perf_counter()`.
        width_px: Width of the upright image.
        height_px: Height of the upright image.
        faces: Faces that the options keep, largest first.
        decode_s: Duration of decoding in seconds.
        detect_s: Duration of detection and cropping in seconds.
        warnings: Warnings of decoding.
    """

    started: float
    width_px: int
    height_px: int
    faces: tuple[CroppedFace, ...]
    decode_s: float
    detect_s: float
    warnings: tuple[ImageWarning, ...] = ()


def run_vision_stages(
    data: bytes, options: PredictOptions, detector: Detector, max_pixels: int, known: Sequence[FaceBox] | None
) -> VisionResult:
    """Decode an image file and crop its faces.

    Args:
        data: The image file.
        options: Options of the caller.
        detector: Face detector.
        max_pixels: Largest width times height to decode.
        known: Faces of the previous frame of a video: detection searches near them. None searches the whole image.

    Raises:
        FerError: The image cannot be used; see `decode_image`.
    """
    started = time.perf_counter()
    image = decode_image(data, max_pixels)
    grey = image.grey
    decoded = time.perf_counter()
    height, width = grey.shape
    if options.detect:
        detections = detector.detect(grey) if known is None else detector.track(grey, known)
        faces = tuple(_crop(grey, face) for face in _select(detections, options))
    else:
        faces = (CroppedFace(FaceBox(0, 0, width, height), None, resize_to_crop(grey)),)
    detect_s = time.perf_counter() - decoded
    return VisionResult(started, width, height, faces, decoded - started, detect_s, image.warnings)


def _crop(grey: GreyImage, face: Detection) -> CroppedFace:
    crop = crop_face(grey, face.box, face.roll_degrees or 0.0)
    return CroppedFace(face.box, face.weight, crop, face.roll_degrees, face.landmarks)


def _select(detections: Sequence[Detection], options: PredictOptions) -> Sequence[Detection]:
    large_enough = [
        detection
        for detection in detections
        if min(detection.box.width, detection.box.height) >= options.min_face_size_px
    ]
    return large_enough[: options.max_faces]
