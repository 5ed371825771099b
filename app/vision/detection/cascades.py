"""OpenCV cascades, one copy per thread.

One `cv2.CascadeClassifier` shared by threads returns wrong boxes and crashes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2

HAAR_CASCADE = "haarcascade_frontalface_alt2.xml"
HAAR_WINDOW_PX = 20  # smallest face that the cascade can find
# The last two of its 20 stages reject unclear faces too. The face verifier decides better, and replaces them.
_HAAR_STAGES = 18
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
        self._haar = _with_stages(_find(HAAR_CASCADE), _HAAR_STAGES)
        self._lbp = _read(LBP_CASCADE)
        self._local = threading.local()
        self.get()  # a damaged cascade must fail at startup, not in the first request

    def get(self) -> Cascades:
        """Return the cascades of the current thread."""
        cascades: Cascades | None = getattr(self._local, "cascades", None)
        if cascades is None:
            cascades = Cascades(_load(self._lbp, LBP_CASCADE.name), _load(self._haar, HAAR_CASCADE))
            self._local.cascades = cascades
        return cascades


def _find(file_name: str) -> Path:
    if not hasattr(cv2, "CascadeClassifier"):
        raise RuntimeError(f"Haar cascades need OpenCV below version 5. Received: {cv2.__version__}")
    path = Path(cv2.__file__).parent / "data" / file_name
    if not path.is_file():
        raise RuntimeError(f"OpenCV {cv2.__version__} does not contain the cascade {file_name}")
    return path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path.name) from error


def _with_stages(path: Path, count: int) -> str:
    """Return the content of a cascade file with its first stages only.

    Raises:
        RuntimeError: The file is damaged.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - a file of the installed OpenCV
        (stages,) = root.findall("cascade/stages")
        (number,) = root.findall("cascade/stageNum")
    except (ElementTree.ParseError, ValueError) as error:
        raise _unusable(path.name) from error
    for stage in stages[count:]:
        stages.remove(stage)
    number.text = str(len(stages))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _load(content: str, name: str) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier()
    try:
        storage = cv2.FileStorage(content, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        is_loaded = cascade.read(storage.getFirstTopLevelNode())
    except (cv2.error, SystemError) as error:  # depends on the damage
        raise _unusable(name) from error
    if not is_loaded:
        raise _unusable(name)
    return cascade


def _unusable(name: str) -> RuntimeError:
    return RuntimeError(f"OpenCV {cv2.__version__} cannot load the cascade {name}")
