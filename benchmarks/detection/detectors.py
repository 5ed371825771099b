"""The detectors that can be measured."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.domain import Detection
from app.vision.detection import FaceDetector

HAAR, YUNET = "haar", "yunet"
NAMES = (HAAR, YUNET)


class Detector(Protocol):
    """What the measurements need of a detector."""

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an upright image."""


def make_detector(name: str) -> Detector:
    """Return the detector of the service by its name.

    Raises:
        ValueError: The service has no such detector.
    """
    if name == HAAR:
        return FaceDetector()
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
        detector: Detector = other.FaceDetector()
    finally:
        sys.path.remove(str(checkout))
        for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
            del sys.modules[name]
        sys.modules.update(own)
    return detector
