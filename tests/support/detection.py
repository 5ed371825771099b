"""The default face detector of the service."""

from __future__ import annotations

from app.config import Settings
from app.inference.face_verifier import FaceVerifier
from app.vision.detection import FaceDetector


def make_face_detector() -> FaceDetector:
    """Return the detector with the face verifier of the repository."""
    return FaceDetector(FaceVerifier(Settings().face_verifier))
