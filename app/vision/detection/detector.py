"""Frontal face detection in passes from large to small faces.

Each pass proposes places and verifies them:

1. Coarse pass (LBP): faces of at least 30 % of the long side.
2. Fine pass (LBP): faces down to 8 % of the long side.
3. Small-face pass. One face as large as a webcam shows: LBP again, for smaller sizes. No face, a small face or
   several faces: Haar, down to 3.75 % of the long side.
4. Border pass, if no face is found: a face that fills the image.

No pass searches faces smaller than a third of the largest face found: they are background. So a portrait takes two fast
passes, and only groups and images without faces take the slow one.

`python -m benchmarks.detection` measures the constants; docs/detection.md has the results.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox
from app.vision.detection.border import search_with_border
from app.vision.detection.boxes import Square, remove_duplicates, sort_largest_first
from app.vision.detection.cascades import Cascades, ThreadLocalCascades
from app.vision.detection.proposals import propose_with_haar, propose_with_lbp, without_known
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import verify

# Sizes of faces, as shares of the image's long side.
MIN_FACE_SHARE = 0.0375  # smallest face
_COARSE_MIN_FACE_SHARE = 0.3
_FINE_MIN_FACE_SHARE = 0.08
_WEBCAM_FACE_SHARE = 0.16  # a single face of at least this size needs no search with Haar

BACKGROUND_SHARE = 1 / 3  # smaller faces, as a share of the largest face, are background
_TRACKING_MARGIN = 0.5  # movement of a face between two frames, as a share of its side


class FaceDetector:
    """Detector of frontal faces. Thread-safe.

    Raises:
        RuntimeError: OpenCV has no cascades (version 5), or a cascade file is missing or damaged.
    """

    def __init__(self) -> None:
        self._cascades = ThreadLocalCascades()

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Detect the frontal faces of an image.

        Args:
            grey: uint8 (H, W), upright.

        Returns:
            Square boxes inside the image, largest first; equal ones from top to bottom and from left to right.
        """
        cascades = self._cascades.get()
        pyramid = ImagePyramid(grey)
        faces, searched_share = _coarse_and_fine_pass(cascades, pyramid)
        needed_share = _min_foreground_share(faces, pyramid, MIN_FACE_SHARE)
        if len(faces) == 1 and _WEBCAM_FACE_SHARE * BACKGROUND_SHARE <= needed_share < searched_share:
            faces = _lbp_pass(cascades, pyramid, faces, needed_share, searched_share)
            searched_share = needed_share
            needed_share = _min_foreground_share(faces, pyramid, MIN_FACE_SHARE)
        if len(faces) != 1 or needed_share < searched_share:
            faces = _add_verified(cascades, pyramid, faces, propose_with_haar(cascades.haar, pyramid, needed_share))
        if not faces:
            faces = search_with_border(cascades.haar, pyramid)
        return sort_largest_first(faces)

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
        cascades = self._cascades.get()
        pyramid = ImagePyramid(grey)
        if not known:
            return sort_largest_first(_coarse_and_fine_pass(cascades, pyramid)[0])
        faces = verify(cascades, pyramid, [(box.x, box.y, box.width) for box in known], _TRACKING_MARGIN)
        if len(faces) < len(known):
            faces = remove_duplicates(faces + self.detect(grey))
        return sort_largest_first(faces)


def _coarse_and_fine_pass(cascades: Cascades, pyramid: ImagePyramid) -> tuple[list[Detection], float]:
    """Return the large and medium faces, and the smallest size that was searched."""
    faces = _lbp_pass(cascades, pyramid, [], _COARSE_MIN_FACE_SHARE)
    min_share = _min_foreground_share(faces, pyramid, _FINE_MIN_FACE_SHARE)
    return _lbp_pass(cascades, pyramid, faces, min_share), min_share


def _min_foreground_share(faces: Sequence[Detection], pyramid: ImagePyramid, lower_limit: float) -> float:
    """Return the smallest size that is not background beside the largest face, and at least `lower_limit`."""
    largest_px = max((face.box.width for face in faces), default=0)
    return max(lower_limit, largest_px / float(pyramid.long_side_px) * BACKGROUND_SHARE)


def _lbp_pass(
    cascades: Cascades,
    pyramid: ImagePyramid,
    faces: list[Detection],
    min_share: float,
    max_share: float | None = None,
) -> list[Detection]:
    return _add_verified(cascades, pyramid, faces, propose_with_lbp(cascades.lbp, pyramid, min_share, max_share))


def _add_verified(
    cascades: Cascades, pyramid: ImagePyramid, faces: list[Detection], proposals: Sequence[Square]
) -> list[Detection]:
    """Verify the proposals that are not known faces, and add them to the known faces."""
    return remove_duplicates(faces + verify(cascades, pyramid, without_known(proposals, faces)))
