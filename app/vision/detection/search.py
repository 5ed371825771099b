"""State of the search for the faces of one image."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain import Detection
from app.vision.detection.boxes import Square, remove_duplicates
from app.vision.detection.cascades import Cascades
from app.vision.detection.proposals import without_known
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import MARGIN, verify

# Roll at which rejected places are verified again, clockwise and anticlockwise.
TILT_DEGREES = 20.0
_MAX_REJECTED = 12  # bounds the time


class Search:
    """Faces found so far, and the places that were rejected.

    Args:
        cascades: Cascades of this thread.
        pyramid: The image.
    """

    def __init__(self, cascades: Cascades, pyramid: ImagePyramid) -> None:
        self.cascades = cascades
        self.pyramid = pyramid
        self.faces: list[Detection] = []
        self._rejected: list[Square] = []

    def add(self, proposals: Sequence[Square], margin: float = MARGIN, turn: bool = True) -> None:
        """Verify the proposals that are not known faces, and add the faces.

        Args:
            proposals: Places to verify.
            margin: Width of the searched surroundings, as a share of the proposal's side.
            turn: True if `add_rejected_turned` verifies the rejected places again.
        """
        new = without_known(proposals, self.faces, self.pyramid.image)
        faces, rejected = verify(self.cascades, self.pyramid, new, margin)
        self.add_faces(faces)
        if turn:
            self._rejected += rejected

    def add_faces(self, faces: Sequence[Detection]) -> None:
        """Add verified faces."""
        self.faces = remove_duplicates([*self.faces, *faces])

    def add_rejected_turned(self) -> bool:
        """Verify the largest rejected places again, turned both ways. Return whether there is a new face."""
        before = len(self.faces)
        rejected = sorted(self._rejected, key=lambda square: -square.side)[:_MAX_REJECTED]
        self._rejected = []
        for degrees in (TILT_DEGREES, -TILT_DEGREES):
            places = [square._replace(degrees=degrees) for square in rejected]
            new = without_known(places, self.faces, self.pyramid.image)
            self.add_faces(verify(self.cascades, self.pyramid, new).faces)
        return len(self.faces) > before
