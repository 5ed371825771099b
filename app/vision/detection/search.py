"""State of the search for the faces of one image."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain import Detection
from app.vision.detection.acceptance import FaceVerifier, accept
from app.vision.detection.boxes import Square, remove_overlapping
from app.vision.detection.cascades import Cascades
from app.vision.detection.proposals import without_known
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import MARGIN, verify

# A single face of at least this size, as a share of the mean side, is taken for the only one: a webcam's picture.
WEBCAM_FACE_SHARE = 0.18
MAX_TURNED_SHARE = 0.7  # largest turned face: the corners of a larger one would not fit into the image
TILT_DEGREES = 20.0  # roll at which rejected places are verified again, clockwise and anticlockwise
_MAX_REJECTED = 12  # bounds the time


class Search:
    """Faces found so far, and the places that were rejected.

    Args:
        cascades: Cascades of this thread.
        pyramid: The image.
        verifier: Decides which candidates are faces.
    """

    def __init__(self, cascades: Cascades, pyramid: ImagePyramid, verifier: FaceVerifier) -> None:
        self.cascades = cascades
        self.pyramid = pyramid
        self.faces: list[Detection] = []
        self._verifier = verifier
        self._rejected: list[Square] = []

    def add(self, proposals: Sequence[Square], margin: float = MARGIN, turn: bool = True) -> None:
        """Verify the proposals that are not known faces, and add the faces.

        Args:
            proposals: Places to verify.
            margin: Width of the searched surroundings, as a share of the proposal's side.
            turn: True if `add_rejected_turned` verifies the rejected places again.
        """
        new = without_known(proposals, self.faces, self.pyramid.image)
        candidates, rejected = verify(self.cascades.haar, self.pyramid, new, margin)
        self.add_faces(accept(self._verifier, self.pyramid, candidates))
        if turn:
            self._rejected += rejected

    def add_faces(self, faces: Sequence[Detection]) -> None:
        """Add accepted faces. Of boxes of one face, the one with the highest confidence stays."""
        self.faces = remove_overlapping(sorted([*self.faces, *faces], key=lambda face: -face.confidence))

    def add_rejected_turned(self) -> None:
        """Verify the largest rejected places again, turned both ways."""
        max_px = MAX_TURNED_SHARE * self.pyramid.mean_side_px
        fitting = [square for square in self._rejected if square.side <= max_px]
        rejected = sorted(fitting, key=lambda square: -square.side)[:_MAX_REJECTED]
        self._rejected = []
        for degrees in (TILT_DEGREES, -TILT_DEGREES):
            self.add([square._replace(degrees=degrees) for square in rejected], turn=False)
