"""Decoding and cropping of image files exactly as the service does it.

The only module of `training` that imports `app.vision`, so that own images are decoded with the same formats and
limits, and faces are found with the same detector, as in serving.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.contract.preprocess import GreyImage, crop_face, resize_to_crop
from app.domain import ImageWarning, PredictOptions
from app.errors import FerError
from app.inference.face_verifier import FaceVerifier
from app.vision.decode import DecodedImage, decode_image
from app.vision.detection import FaceDetector

_FACE_VERIFIER = Path(__file__).parents[3] / "models" / "detection" / "face_verifier.onnx"
MAX_PIXELS = 40_000_000  # the default of the service


class UnusableImageError(Exception):
    """An image cannot be used. The message is the reason."""


@dataclass(frozen=True)
class FaceCrop:
    """Crop of one image.

    Attributes:
        pixels: uint8 (48, 48, 1).
        faces: Number of faces in the image; None if no detector ran.
        truncated: Whether the end of the file is missing. The service decodes such files with a warning.
    """

    pixels: GreyImage
    faces: int | None
    truncated: bool


Cropper = Callable[[bytes], FaceCrop]


def whole_image(data: bytes) -> FaceCrop:
    """Decode an image file that is one cropped face.

    Raises:
        UnusableImageError: The file cannot be decoded.
    """
    image = _decode(data)
    return FaceCrop(resize_to_crop(image.grey), None, _is_truncated(image))


def largest_face() -> Cropper:
    """Return a function that decodes an image file and crops its largest face. Thread-safe.

    The function raises `UnusableImageError` if the file cannot be decoded or shows no face.
    """
    detector = FaceDetector(FaceVerifier(_FACE_VERIFIER))
    min_confidence = PredictOptions().min_detection_confidence

    def crop(data: bytes) -> FaceCrop:
        image = _decode(data)
        grey = image.grey
        faces = [face for face in detector.detect(grey) if face.confidence >= min_confidence]
        if not faces:
            height, width = grey.shape
            raise UnusableImageError(
                f"expected a face. Received: no face found in {width}x{height} pixels. If the image is one cropped"
                " face already, load it without --crop."
            )
        pixels = crop_face(grey, faces[0].box, faces[0].roll_degrees or 0.0)
        return FaceCrop(pixels, len(faces), _is_truncated(image))

    return crop


def _decode(data: bytes) -> DecodedImage:
    try:
        return decode_image(data, MAX_PIXELS)
    except FerError as error:
        raise UnusableImageError(error.detail) from error


def _is_truncated(image: DecodedImage) -> bool:
    return ImageWarning.TRUNCATED in image.warnings
