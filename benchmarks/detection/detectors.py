"""The detectors that can be measured, as the service serves them: with its default `min_detection_confidence`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from app.config import Settings
from app.domain import Detection, PredictOptions
from app.main import load_detector
from app.vision.yunet import YuNetDetector
from tests.support.paths import YUNET as YUNET_FILE

HAAR, YUNET = "haar", "yunet"  # the default detector of the service, and the other one
NAMES = (HAAR, YUNET)
_MIN_CONFIDENCE = PredictOptions().min_detection_confidence


class Detector(Protocol):
    """What the measurements need of a detector."""

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an upright image."""


class ServedDetector:
    """A detector with cascades that returns the faces that a request gets.

    Args:
        detector: The detector of the service.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an upright image, uint8 (H, W)."""
        return _confident(self._detector.detect(image))


class ColourYuNet:
    """YuNet of the service. It gets the image in colour and in grey.

    Args:
        detector: The detector of the service.
    """

    def __init__(self, detector: YuNetDetector) -> None:
        self._detector = detector

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an upright image, uint8 (H, W) or, in RGB, (H, W, 3)."""
        if image.ndim == 2:
            return _confident(self._detector.detect(image))
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        return _confident(self._detector.detect(grey, image))


def _confident(faces: list[Detection]) -> list[Detection]:
    return [face for face in faces if face.confidence >= _MIN_CONFIDENCE]


def make_detector(name: str) -> Detector:
    """Return a detector by its name.

    Raises:
        ValueError: There is no such detector.
    """
    if name == HAAR:
        return ServedDetector(load_detector(Settings(detector="haar")))
    if name == YUNET:
        return ColourYuNet(YuNetDetector(YUNET_FILE))
    raise ValueError(f"Unknown detector: expected one of {', '.join(NAMES)}. Received: {name}")


def detector_of_checkout(checkout: Path) -> Detector:
    """Return the Haar detector of another checkout, in this process, so that both can be timed in turn.

    Args:
        checkout: Root of the checkout. Its `app` package is imported beside the `app` package of this program.
    """
    own = {name: module for name, module in sys.modules.items() if name == "app" or name.startswith("app.")}
    for name in own:
        del sys.modules[name]
    sys.path.insert(0, str(checkout))
    try:
        other: Any = importlib.import_module("app.vision.detection")
        file = checkout / Settings.model_fields["face_verifier"].default
        if file.exists():
            verifier = importlib.import_module("app.inference.face_verifier").FaceVerifier(file)
            detector: Detector = ServedDetector(other.FaceDetector(verifier))
        else:  # version 1
            detector = other.FaceDetector()
    finally:
        sys.path.remove(str(checkout))
        for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
            del sys.modules[name]
        sys.modules.update(own)
    return detector
