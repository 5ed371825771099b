"""OpenCV cascades, one copy per thread.

One `cv2.CascadeClassifier` shared by threads returns wrong boxes and crashes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2

HAAR_CASCADE = "haarcascade_frontalface_alt2.xml"
HAAR_WINDOW_PX = 20  # smallest face that the cascade can find
# Part of OpenCV but not of its Python package. Three times as fast as Haar, and accurate enough for proposals.
LBP_CASCADE = Path(__file__).parent / "cascades" / "lbpcascade_frontalface.xml"
LBP_WINDOW_PX = 24


@dataclass(frozen=True, slots=True)
class Cascades:
    """Cascades of one thread.

    Attributes:
        lbp: Proposes large faces.
        haar: Proposes small faces and verifies all proposals.
    """

    lbp: cv2.CascadeClassifier
    haar: cv2.CascadeClassifier


class ThreadLocalCascades:
    """Cascades, loaded once per thread and at once in the thread that creates this object.

    Raises:
        RuntimeError: OpenCV has no cascades (version 5), or a cascade file is missing or damaged.
    """

    def __init__(self) -> None:
        self._haar_path = _find(HAAR_CASCADE)
        self._local = threading.local()
        self.get()  # a damaged cascade must fail at startup, not in the first request

    def get(self) -> Cascades:
        """Return the cascades of the current thread."""
        cascades: Cascades | None = getattr(self._local, "cascades", None)
        if cascades is None:
            cascades = Cascades(_load(LBP_CASCADE), _load(self._haar_path))
            self._local.cascades = cascades
        return cascades


def _find(file_name: str) -> Path:
    if not hasattr(cv2, "CascadeClassifier"):
        raise RuntimeError(f"Haar cascades need OpenCV below version 5. Received: {cv2.__version__}")
    path = Path(cv2.__file__).parent / "data" / file_name
    if not path.is_file():
        raise RuntimeError(f"OpenCV {cv2.__version__} does not contain the cascade {file_name}")
    return path


def _load(path: Path) -> cv2.CascadeClassifier:
    try:
        cascade = cv2.CascadeClassifier(str(path))
    except (cv2.error, SystemError):  # depends on the damage; some damaged files only load as empty
        cascade = None
    if cascade is None or cascade.empty():
        raise RuntimeError(f"OpenCV {cv2.__version__} cannot load the cascade {path.name}")
    return cascade
