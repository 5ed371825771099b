"""Detection of faces in passes: from large to small faces, and from upright to turned ones.

Each pass proposes places and verifies them:

1. Coarse pass (LBP): faces of at least 35 % of the mean side (the square root of the image's area).
2. Fine pass (LBP): faces down to 9 % of the mean side.
3. Small-face pass. One face as large as a webcam shows: LBP again, for smaller sizes. No face, a small face or
   several faces: Haar, down to 3.4 % of the mean side.
4. Border pass, if no face is found: a face that fills the image.
5. Turned faces (`turned.py`): places that were proposed and rejected are verified again, turned; if there is no face or
   a turned one, turned copies of the image are searched.

No pass searches faces smaller than a third of the largest face found: they are background. So a portrait takes two fast
passes, and only groups and images without faces take the slow one.

`python -m benchmarks.detection` measures the constants; docs/detection.md has the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox
from app.vision.detection.acceptance import FaceVerifier
from app.vision.detection.border import propose_with_border
from app.vision.detection.boxes import Square, sort_largest_first
from app.vision.detection.cascades import ThreadLocalCascades
from app.vision.detection.proposals import propose_with_haar, propose_with_lbp
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.search import WEBCAM_FACE_SHARE, Search
from app.vision.detection.turned import add_turned_faces

# Sizes of faces, as shares of the image's mean side.
MIN_FACE_SHARE = 0.034  # smallest face
_COARSE_MIN_FACE_SHARE = 0.35
_FINE_MIN_FACE_SHARE = 0.09

BACKGROUND_SHARE = 1 / 3  # smaller faces, as a share of the largest face, are background
_TRACKING_MARGIN = 0.5  # movement of a face between two frames, as a share of its side

# Smaller images are enlarged, because a face of a small image is smaller than the cascades' windows.
_SMALL_IMAGE_PX = 160
_ENLARGED_PX = 240


class FaceDetector:
    """Detector of faces. Thread-safe.

    Args:
        verifier: Decides which candidates are faces.

    Raises:
        RuntimeError: OpenCV has no cascades (version 5), or a cascade file is missing or damaged.
    """

    def __init__(self, verifier: FaceVerifier) -> None:
        self._verifier = verifier
        self._cascades = ThreadLocalCascades()

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Detect the frontal faces of an image.

        Args:
            grey: uint8 (H, W), upright.

        Returns:
            Square boxes inside the image, largest first; equal ones from top to bottom and from left to right.
        """
        if max(grey.shape) < _SMALL_IMAGE_PX:
            return self._detect_enlarged(grey)
        search = Search(self._cascades.get(), ImagePyramid(grey), self._verifier)
        _detect_upright(search)
        add_turned_faces(search, _needed_share(search, MIN_FACE_SHARE))
        return sort_largest_first(search.faces)

    def _detect_enlarged(self, grey: GreyImage) -> list[Detection]:
        scale = _ENLARGED_PX / max(grey.shape)
        height, width = grey.shape
        size = max(1, round(width * scale)), max(1, round(height * scale))
        enlarged = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        return [replace(face, box=_scaled_down(face.box, scale, grey)) for face in self.detect(enlarged)]

    def track(self, grey: GreyImage, known: Sequence[FaceBox]) -> list[Detection]:
        """Detect faces near known faces, for the next frame of a video, in a fraction of the time of `detect`.

        If a known face is not near its old place, the whole image is searched. If no face is known, only the coarse and
        the fine pass run. New small faces are found by `detect` only.

        Args:
            grey: uint8 (H, W), upright.
            known: Boxes of the previous frame.

        Returns:
            Same as `detect`.
        """
        search = Search(self._cascades.get(), ImagePyramid(grey), self._verifier)
        if not known:
            _coarse_and_fine_pass(search)
            return sort_largest_first(search.faces)
        search.add([Square(box.x, box.y, box.width) for box in known], _TRACKING_MARGIN)
        search.add_rejected_turned()
        if len(search.faces) < len(known):
            search.add_faces(self.detect(grey))
        return sort_largest_first(search.faces)


def _detect_upright(search: Search) -> None:
    searched_share = _coarse_and_fine_pass(search)
    needed_share = _needed_share(search, MIN_FACE_SHARE)
    if len(search.faces) == 1 and WEBCAM_FACE_SHARE * BACKGROUND_SHARE <= needed_share < searched_share:
        search.add(propose_with_lbp(search.cascades.lbp, search.pyramid, needed_share, searched_share))
        searched_share = needed_share
        needed_share = _needed_share(search, MIN_FACE_SHARE)
    if len(search.faces) != 1 or needed_share < searched_share:
        search.add(propose_with_haar(search.cascades.haar, search.pyramid, needed_share))
    if not search.faces:
        search.add(propose_with_border(search.cascades.haar, search.pyramid), turn=False)


def _coarse_and_fine_pass(search: Search) -> float:
    """Add the large and medium faces, and return the smallest size that was searched."""
    search.add(propose_with_lbp(search.cascades.lbp, search.pyramid, _COARSE_MIN_FACE_SHARE))
    min_share = _needed_share(search, _FINE_MIN_FACE_SHARE)
    search.add(propose_with_lbp(search.cascades.lbp, search.pyramid, min_share))
    return min_share


def _needed_share(search: Search, lower_limit: float) -> float:
    """Return the smallest size that is not background beside the largest face, and at least `lower_limit`."""
    largest_px = max((face.box.width for face in search.faces), default=0)
    return max(lower_limit, largest_px / search.pyramid.mean_side_px * BACKGROUND_SHARE)


def _scaled_down(box: FaceBox, scale: float, image: GreyImage) -> FaceBox:
    height, width = image.shape
    side = min(max(1, round(box.width / scale)), width, height)
    return FaceBox(
        min(max(round(box.x / scale), 0), width - side), min(max(round(box.y / scale), 0), height - side), side, side
    )
