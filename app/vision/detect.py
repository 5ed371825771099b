"""Finds frontal faces with an OpenCV Haar cascade at a bounded working size. Boxes out, no crops.

Every constant was chosen with `python -m tests.benchmarks.detection`; docs/detection.md has the table.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox

CASCADE = "haarcascade_frontalface_alt2.xml"
WORKING_SIZE_PX = 1280
SCALE_FACTOR = 1.1
MIN_NEIGHBORS = 3
# Smallest face searched, as a share of the image's long side. OpenCV searches every second position only where a face
# is less than twice the cascade's 20 px window; starting above that keeps 1280 px as sure as full size.
MIN_FACE_SHARE = 0.0375
# A face that fills the picture leaves no margin around the cascade's window. Where nothing is found, the picture is
# searched once more with its edge repeated around it, for faces that fill most of it: of 120 PrivateTest faces sent
# alone at 48 to 400 px that finds 71 % instead of 57 %, with no box on 60 canvases and 141 pieces of photographs
# without a face, in about 2 ms.
CLOSE_UP_SIZE_PX = 320
CLOSE_UP_BORDER_SHARE = 0.25  # of the long side
CLOSE_UP_MIN_FACE_SHARE = 0.6  # of the short side
_WINDOW_PX = 20


class FaceDetector:
    """A Haar cascade, one copy for each thread that calls it: one that is shared gives wrong boxes and crashes.

    Args:
        cascade: File name among OpenCV's cascades.
        working_size_px: Images are scaled down until their long side is at most this.
        scale_factor: Step between the sizes that are searched.
        min_neighbors: Overlapping hits that make a face.
        min_face_share: Smallest side searched, as a share of the image's long side.

    Raises:
        RuntimeError: This OpenCV has no Haar cascades (version 5), or not this file.
    """

    def __init__(
        self,
        cascade: str = CASCADE,
        working_size_px: int = WORKING_SIZE_PX,
        scale_factor: float = SCALE_FACTOR,
        min_neighbors: int = MIN_NEIGHBORS,
        min_face_share: float = MIN_FACE_SHARE,
    ) -> None:
        self._path = _find(cascade)
        self._working_size_px = working_size_px
        self._scale_factor = scale_factor
        self._min_neighbors = min_neighbors
        self._min_face_share = min_face_share
        self._of_thread = threading.local()
        self._cascade()  # a cascade that does not load fails here, not in the first request

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Finds the frontal faces of an image. Thread-safe.

        Args:
            grey: uint8 (H, W), upright.

        Returns:
            Square boxes inside the image, largest first; equal ones from top to bottom, left to right.
        """
        found = self._search(grey, self._working_size_px, 0, self._min_face_share * max(grey.shape))
        if not found:
            found = self._search(
                grey, CLOSE_UP_SIZE_PX, CLOSE_UP_BORDER_SHARE, CLOSE_UP_MIN_FACE_SHARE * min(grey.shape)
            )
        return sorted(found, key=lambda face: (-face.box.area_px, face.box.y, face.box.x))

    def _search(
        self, grey: GreyImage, working_size_px: int, border_share: float, min_face_px: float
    ) -> list[Detection]:
        height, width = grey.shape
        scale = min(1.0, working_size_px / max(height, width))
        searched = grey
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            searched = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        border = round(max(searched.shape) * border_share)
        if border:
            bordered = cv2.copyMakeBorder(searched, border, border, border, border, cv2.BORDER_REPLICATE)
            searched = np.asarray(bordered, dtype=np.uint8)
        min_side_px = max(_WINDOW_PX, round(min_face_px * scale))
        boxes, _, weights = self._cascade().detectMultiScale3(
            searched,
            scaleFactor=self._scale_factor,
            minNeighbors=self._min_neighbors,
            minSize=(min_side_px, min_side_px),
            outputRejectLevels=True,
        )
        return [
            Detection(_inside((x - border, y - border, side), scale, width, height), float(weight))
            for (x, y, side, _), weight in zip(boxes, weights, strict=True)
        ]

    def _cascade(self) -> cv2.CascadeClassifier:
        cascade: cv2.CascadeClassifier | None = getattr(self._of_thread, "cascade", None)
        if cascade is None:
            cascade = cv2.CascadeClassifier(str(self._path))
            if cascade.empty():
                raise RuntimeError(f"OpenCV {cv2.__version__} cannot load the cascade {self._path.name}")
            self._of_thread.cascade = cascade
        return cascade


def _find(cascade: str) -> Path:
    if not hasattr(cv2, "CascadeClassifier"):
        raise RuntimeError(f"Haar cascades need OpenCV below version 5. Received: {cv2.__version__}")
    path = Path(cv2.__file__).parent / "data" / cascade
    if not path.is_file():
        raise RuntimeError(f"OpenCV {cv2.__version__} ships no cascade {cascade}")
    return path


def _inside(box: Sequence[int], scale: float, width: int, height: int) -> FaceBox:
    """The box in pixels of the upright image; rounding must not push it over an edge."""
    left, top, side = (round(float(value) / scale) for value in (box[0], box[1], box[2]))
    side = min(side, width, height)
    return FaceBox(min(max(left, 0), width - side), min(max(top, 0), height - side), side, side)
