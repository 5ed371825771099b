"""The stages that run in a vision thread: decode one image file, detect its faces, crop them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from app.contract.preprocess import CROP_SIZE_PX, GreyImage, crop_face, resize_to_crop
from app.domain import Detection, FaceBox, ImageWarning, Point, PredictOptions
from app.errors import FerError
from app.vision.decode import ColourImage, DecodedImage, decode_colour, decode_image, reduction

# Smallest roll by which a crop is turned back. FER2013 contains tilted faces: at a smaller roll, the error of the roll
# and the second interpolation cost more accuracy than an upright face gains (docs/detection.md#yunet).
MIN_CROP_ROLL_DEGREES = 15.0


class Detector(Protocol):
    """Face detector in grey images, such as `app.vision.detection.FaceDetector`."""

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Return the faces of an upright grey image, uint8 (H, W), largest first. Thread-safe."""

    def track(self, grey: GreyImage, known: Sequence[FaceBox]) -> list[Detection]:
        """Return the faces of the next frame of a video, at a lower cost: search near the known faces. Thread-safe."""


@runtime_checkable
class ColourDetector(Protocol):
    """Face detector that also uses colour, such as `app.vision.yunet.YuNetDetector`.

    Attributes:
        colour_pixels: Number of pixels that the colour image needs; a larger image is reduced while it is decoded.
    """

    colour_pixels: int

    def detect(self, grey: GreyImage, colour: ColourImage | None = None) -> list[Detection]:
        """Return the faces like `Detector.detect`. `colour` is the same image in RGB, uint8 (h, w, 3), of any size."""

    def track(self, grey: GreyImage, known: Sequence[FaceBox], colour: ColourImage | None = None) -> list[Detection]:
        """Return the faces like `Detector.track`."""


@dataclass(frozen=True, slots=True)
class CroppedFace:
    """One detected face with its crop, uint8 (48, 48, 1).

    Attributes:
        box: Position of the face.
        confidence: Confidence of the detection; None if no detector ran.
        crop: Input of the model. A face with a roll of at least `MIN_CROP_ROLL_DEGREES` is upright in it.
        roll_degrees: Roll of the face; see `Detection`.
        landmarks: Five points of the face; see `Detection`.
    """

    box: FaceBox
    confidence: float | None
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
        decode_s: Duration of decoding in seconds, twice if small faces need it.
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
        max_pixels: Largest width times height of what is decoded.
        known: Faces of the previous frame of a video: detection searches near them. None searches the whole image.

    Raises:
        FerError: The image cannot be used; see `decode_image`.
    """
    started = time.perf_counter()
    image = decode_image(data, max_pixels, reduction.for_detection if options.detect else reduction.for_one_face)
    colour = _decode_colour(data, image, detector, max_pixels) if options.detect else None
    decode_s = time.perf_counter() - started
    if options.detect:
        found = _detect(image, colour, detector, known)
        kept = _select(found, options)
        sharper_started = time.perf_counter()
        sharper = _decode_sharper(data, max_pixels, image, kept)
        decode_s += time.perf_counter() - sharper_started
        faces = tuple(_crop(image, sharper, face) for face in kept)
    else:
        whole = FaceBox(0, 0, image.width_px, image.height_px)
        faces = (CroppedFace(whole, None, resize_to_crop(image.grey)),)
    detect_s = time.perf_counter() - started - decode_s
    return VisionResult(started, image.width_px, image.height_px, faces, decode_s, detect_s, image.warnings)


def _decode_colour(data: bytes, image: DecodedImage, detector: Detector, max_pixels: int) -> ColourImage | None:
    if not isinstance(detector, ColourDetector):
        return None
    return decode_colour(data, image.grey, detector.colour_pixels, max_pixels)


def _detect(
    image: DecodedImage, colour: ColourImage | None, detector: Detector, known: Sequence[FaceBox] | None
) -> list[Detection]:
    """Return the faces in pixels of the full image, whatever the reduction of the decoded image."""
    if known is not None and image.reduction != 1:
        known = [box.scaled(1 / image.reduction) for box in known]
    if isinstance(detector, ColourDetector):
        found = detector.detect(image.grey, colour) if known is None else detector.track(image.grey, known, colour)
    else:
        found = detector.detect(image.grey) if known is None else detector.track(image.grey, known)
    if image.reduction == 1:
        return found
    full = [face.scaled(image.reduction) for face in found]
    return [replace(face, box=face.box.moved_into(image.width_px, image.height_px)) for face in full]


def _decode_sharper(data: bytes, max_pixels: int, image: DecodedImage, faces: Sequence[Detection]) -> DecodedImage:
    """Decode the file again, if a face has fewer pixels in the decoded image than a crop needs.

    Returns:
        The image with the largest reduction at which the smallest face has the pixels of a crop, or, if the limits do
        not allow it, with the smallest reduction that they allow.
    """
    smallest_px = min((min(face.box.width, face.box.height) for face in faces), default=0)
    needed = reduction.for_crop(smallest_px)
    while faces and needed < image.reduction:
        with suppress(FerError):  # of the limits: the file was decoded before
            return decode_image(data, max_pixels, reduction.fixed(needed))
        needed *= 2
    return image


def _crop(image: DecodedImage, sharper: DecodedImage, face: Detection) -> CroppedFace:
    """Crop one face, from the sharper image if the face is too small in the other one."""
    side_px = min(face.box.width, face.box.height)
    source = image if side_px >= image.reduction * CROP_SIZE_PX else sharper
    box = face.box if source.reduction == 1 else face.box.scaled(1 / source.reduction)
    roll = face.roll_degrees or 0.0
    crop = crop_face(source.grey, box, roll if abs(roll) >= MIN_CROP_ROLL_DEGREES else 0.0)
    return CroppedFace(face.box, face.confidence, crop, face.roll_degrees, face.landmarks)


def _select(detections: Sequence[Detection], options: PredictOptions) -> Sequence[Detection]:
    wanted = [
        detection
        for detection in detections
        if min(detection.box.width, detection.box.height) >= options.min_face_size_px
        and detection.confidence >= options.min_detection_confidence
    ]
    return wanted[: options.max_faces]
