"""Face detection in passes from large to small faces.

1. First pass: the image with about as many pixels as 320x240. It finds faces of at least 3 % of the long side.
2. Larger passes, up to 960x720 pixels: only while no face is found, or the smallest face is small.
3. Turned passes, if nothing is found: turned copies of the first pass. If the found faces are turned, so may be the
   others: one copy that is turned back.

Every face is verified: the network searches its surroundings again, enlarged, and turned so that the face is upright.
This search decides whether it is a face, and gives the exact place, the roll and the landmarks, which are inexact in
small and in turned faces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.domain import Detection, FaceBox
from app.vision.yunet.faces import Face, remove_duplicates, without_known
from app.vision.yunet.model import YuNet
from app.vision.yunet.views import Pyramid, View, around, scaled, turned

Pixels = npt.NDArray[np.uint8]

_FIRST_PASS_PIXELS = 320 * 240
_LARGER_PASS_PIXELS = (640 * 480, 960 * 720)
_MAX_ENLARGEMENT = 4.0
_SMALL_FACE_PX = 40  # side in a pass; smaller faces beside it may be missed
_WORTHWHILE_ENLARGEMENT = 1.2  # of a pass, against the pass before
_PROPOSAL_SCORE = 0.2
_WEAK_SCORE = 0.4  # of a proposal that a search in a small view may reject
_MIN_VIEW_SCORE = 0.75  # of a face that was proposed on its side or upside down, and is upright in the view
_POOR_SCORE = 0.5  # in a view: turning the view further makes no face of it
_MIN_SCORE = 0.75
_CERTAIN_SCORE = 0.9
# Few people are upside down: most candidates that are turned by so much are not faces.
_MIN_TURNED_SCORE, _TURNED_FACE = 0.85, math.radians(60)
_MARGIN = 1.6  # side of the view around a face, as a multiple of the side of the face
_VIEW_PX, _FAST_VIEW_PX = 256, 128  # side of that view; the landmarks of faces below about 160 px are inexact
_MAX_MOVE = 0.35  # distance of the centres before and after, as a share of the side
_MAX_REFINEMENTS = 4
_ROLL_TOLERANCE = math.radians(8)  # change of the roll that needs no further search
_QUARTER_TURNS = (math.pi / 2, -math.pi / 2, math.pi)
_TURNS = (-45, 45, -90, 90, 180)
_TURNED_DEGREES = 25.0


class YuNetDetector:
    """Detector of faces in colour or grey images. Thread-safe.

    Attributes:
        colour_pixels: Smallest number of pixels of the colour image that the detector can use.

    Args:
        path: ONNX file of YuNet.

    Raises:
        DetectorModelError: The file is missing or is another file.
    """

    colour_pixels: int = 640 * 480

    def __init__(self, path: Path) -> None:
        self._network = YuNet(path)

    def detect(self, grey: Pixels, colour: Pixels | None = None) -> list[Detection]:
        """Detect the faces of an image.

        Args:
            grey: uint8 (H, W), upright.
            colour: uint8 (h, w, 3), RGB: the same image, of the same size or smaller. None searches the grey image.

        Returns:
            Square boxes inside the image, largest first; equal ones from top to bottom and from left to right.
        """
        image = grey if colour is None else colour
        return _to_detections(self._search(image), image, grey)

    def track(self, grey: Pixels, known: Sequence[FaceBox], colour: Pixels | None = None) -> list[Detection]:
        """Detect the faces of the next frame of a video. New small faces are found by `detect` only.

        Args:
            grey: uint8 (H, W), upright.
            known: Boxes of the previous frame. If fewer faces are found in the first pass, all passes run.
            colour: See `detect`.

        Returns:
            Same as `detect`.
        """
        image = grey if colour is None else colour
        pyramid = Pyramid(image)
        faces = self._verified(pyramid, self._find(scaled(pyramid, _first_scale(pyramid))), ())
        if len(faces) < len(known):
            return self.detect(grey, colour)
        return _to_detections(faces, image, grey)

    def _search(self, image: Pixels) -> list[Face]:
        pyramid = Pyramid(image)
        scale = _first_scale(pyramid)
        first = scaled(pyramid, scale)
        faces = self._verified(pyramid, self._find(first), ())
        for pixels in _LARGER_PASS_PIXELS:
            larger = min(_scale_of(pyramid, pixels), 1.0)
            if larger < scale * _WORTHWHILE_ENLARGEMENT or not _may_hold_small_faces(faces, scale):
                break
            faces, scale = self._verified(pyramid, self._find(scaled(pyramid, larger)), faces), larger
        for degrees in _turns(faces):
            faces = self._verified(pyramid, self._find(turned(first, degrees)), faces)
        return faces

    def _find(self, view: View) -> list[Face]:
        """Return the faces of a view, in pixels of the image."""
        return [face.moved(view.to_image) for face in self._network.find(view.pixels, _PROPOSAL_SCORE)]

    def _verified(self, pyramid: Pyramid, proposals: Iterable[Face], known: Sequence[Face]) -> list[Face]:
        """Return the known faces and the proposals that are faces."""
        verified = (self._verify(pyramid, face) for face in without_known(proposals, known))
        return remove_duplicates([*known, *(face for face in verified if face is not None)])

    def _verify(self, pyramid: Pyramid, proposal: Face) -> Face | None:
        """Return a face with the place, roll and landmarks of accurate searches around it; None if it is no face."""
        if proposal.score < _WEAK_SCORE and self._find_near(pyramid, proposal, proposal.roll, _FAST_VIEW_PX) is None:
            return None
        face = self._refine(pyramid, proposal)
        if face is None or face.score < _CERTAIN_SCORE:
            # The network also finds faces that are upside down or on their side, with lower scores and a wrong roll.
            candidates = [
                self._find_near(pyramid, proposal, proposal.roll + turn, _FAST_VIEW_PX) for turn in _QUARTER_TURNS
            ]
            best = max((each for each in candidates if each is not None), key=lambda each: each.score, default=None)
            if best is not None and best.score > max(_MIN_VIEW_SCORE, 0.0 if face is None else face.score):
                face = self._refine(pyramid, best) or face
        return face if face is not None and face.score >= _min_score(face) else None

    def _refine(self, pyramid: Pyramid, face: Face) -> Face | None:
        """Search around a face, until its roll no longer changes; None if no face is there."""
        for _ in range(_MAX_REFINEMENTS):
            found = self._find_near(pyramid, face, face.roll, _VIEW_PX)
            if found is None:
                return None
            change = math.remainder(found.roll - face.roll, math.tau)
            face = found
            if abs(change) < _ROLL_TOLERANCE or face.score < _POOR_SCORE:
                break
        return face

    def _find_near(self, pyramid: Pyramid, face: Face, roll: float, size_px: int) -> Face | None:
        """Return the face at the place of a face, found in a view that is turned back by `roll`; None without one."""
        view = around(pyramid, face.centre, _MARGIN * face.side, roll, size_px)
        near = (found for found in self._find(view) if math.dist(found.centre, face.centre) < _MAX_MOVE * face.side)
        return max(near, key=lambda found: found.score, default=None)


def _scale_of(pyramid: Pyramid, pixels: int) -> float:
    """Return the scale at which an image has a number of pixels."""
    return math.sqrt(pixels / (pyramid.width * pyramid.height))


def _first_scale(pyramid: Pyramid) -> float:
    return min(_scale_of(pyramid, _FIRST_PASS_PIXELS), _MAX_ENLARGEMENT)


def _min_score(face: Face) -> float:
    return _MIN_TURNED_SCORE if abs(face.roll) > _TURNED_FACE else _MIN_SCORE


def _may_hold_small_faces(faces: Sequence[Face], scale: float) -> bool:
    return min((face.side * scale for face in faces), default=0.0) < _SMALL_FACE_PX


def _turns(faces: Sequence[Face]) -> Sequence[int]:
    """Return the turns of the copies to search."""
    if not faces:
        return _TURNS
    degrees = round(math.degrees(float(np.median([face.roll for face in faces]))))
    return (-degrees,) if abs(degrees) > _TURNED_DEGREES else ()


def _to_detections(faces: Iterable[Face], image: Pixels, grey: Pixels) -> list[Detection]:
    """Return faces in whole pixels of the full image, largest first."""
    height, width = grey.shape
    factor_x, factor_y = width / image.shape[1], height / image.shape[0]
    matrix = np.array([[factor_x, 0, (factor_x - 1) / 2], [0, factor_y, (factor_y - 1) / 2]])
    detections = [face.moved(matrix).to_detection(width, height) for face in faces]
    return sorted(detections, key=lambda face: (-face.box.area_px, face.box.y, face.box.x))
