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
from app.domain import Detection, FaceBox, overlap

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
# Where a face is looked for again in the next picture of a video: up to half its side away, at 0.7 to 1.45 times its
# size. Over 26 photographs moved by up to a fifth of the face and scaled by 0.93 to 1.07, that finds all 92 faces that
# a search of the whole picture finds, in 5 ms of one core a face.
NEAR_MARGIN_SHARE = 0.5
NEAR_MIN_SHARE, NEAR_MAX_SHARE = 0.7, 1.45
# Smallest new face searched between the searches of everything, as a share of the long side: 64 px of 640x480. Costs
# 27 ms of one core there, where the search of everything costs 91 ms.
FOLLOW_MIN_FACE_SHARE = 0.1
_SAME_FACE = 0.5  # overlap at which two boxes are one face


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
        return _largest_first(self._search_whole(grey, 0))

    def follow(self, grey: GreyImage, known: Sequence[FaceBox]) -> list[Detection]:
        """Finds the faces of a video's next picture at a fraction of the cost. Thread-safe.

        Known faces are looked for near where they were. Where one of them is not there, or none is known, the whole
        picture is searched for faces that are large or as large as the missing one. Other new faces are left to
        `detect`, which a caller should ask from time to time.

        Args:
            grey: uint8 (H, W), upright.
            known: Boxes in the picture before.

        Returns:
            As `detect`.
        """
        near = [(box, self._search_near(grey, box)) for box in known]
        found = [detection for _, detection in near if detection is not None]
        missing_px = [box.width * NEAR_MIN_SHARE for box, detection in near if detection is None]
        if missing_px or not known:
            found += self._search_whole(grey, min([FOLLOW_MIN_FACE_SHARE * max(grey.shape), *missing_px]))
        return _largest_first(_without_repeats(found))

    def _search_whole(self, grey: GreyImage, min_face_px: float) -> list[Detection]:
        smallest_px = max(min_face_px, self._min_face_share * max(grey.shape))
        return self._search(grey, self._working_size_px, 0, smallest_px) or self._search(
            grey, CLOSE_UP_SIZE_PX, CLOSE_UP_BORDER_SHARE, CLOSE_UP_MIN_FACE_SHARE * min(grey.shape)
        )

    def _search_near(self, grey: GreyImage, box: FaceBox) -> Detection | None:
        height, width = grey.shape
        margin = round(box.width * NEAR_MARGIN_SHARE)
        left, top = max(0, box.x - margin), max(0, box.y - margin)
        region = grey[top : box.y + box.height + margin, left : box.x + box.width + margin]
        scale = min(1.0, self._working_size_px / max(height, width))  # as in the whole picture, so that no size is lost
        region_height, region_width = region.shape
        size = round(region_width * scale), round(region_height * scale)
        if min(size) < _WINDOW_PX:
            return None
        found = self._detect_scaled(
            np.ascontiguousarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA) if scale < 1 else region),
            round(box.width * scale * NEAR_MIN_SHARE),
            round(box.width * scale * NEAR_MAX_SHARE),
        )
        if not found:
            return None
        (x, y, side), weight = max(found, key=lambda face: face[1])
        moved = x + round(left * scale), y + round(top * scale), side
        return Detection(_inside(moved, scale, width, height), weight)

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
        return [
            Detection(_inside((x - border, y - border, side), scale, width, height), weight)
            for (x, y, side), weight in self._detect_scaled(searched, round(min_face_px * scale))
        ]

    def _detect_scaled(
        self, searched: GreyImage, min_side_px: int, max_side_px: int = 0
    ) -> list[tuple[tuple[int, int, int], float]]:
        """Left, top, side and weight of what the cascade finds; `max_side_px` 0 is no limit."""
        smallest = max(_WINDOW_PX, min_side_px)
        boxes, _, weights = self._cascade().detectMultiScale3(
            searched,
            scaleFactor=self._scale_factor,
            minNeighbors=self._min_neighbors,
            minSize=(smallest, smallest),
            maxSize=(max_side_px, max_side_px),
            outputRejectLevels=True,
        )
        return [
            ((int(x), int(y), int(side)), float(weight)) for (x, y, side, _), weight in zip(boxes, weights, strict=True)
        ]

    def _cascade(self) -> cv2.CascadeClassifier:
        cascade: cv2.CascadeClassifier | None = getattr(self._of_thread, "cascade", None)
        if cascade is None:
            cascade = cv2.CascadeClassifier(str(self._path))
            if cascade.empty():
                raise RuntimeError(f"OpenCV {cv2.__version__} cannot load the cascade {self._path.name}")
            self._of_thread.cascade = cascade
        return cascade


def _without_repeats(found: list[Detection]) -> list[Detection]:
    """Of boxes that are one face, the first."""
    kept: list[Detection] = []
    for face in found:
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _largest_first(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda face: (-face.box.area_px, face.box.y, face.box.x))


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
