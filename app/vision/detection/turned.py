"""Search for turned faces."""

from __future__ import annotations

from app.vision.detection.acceptance import MAX_TURNED_SHARE
from app.vision.detection.proposals import propose_with_haar, propose_with_lbp
from app.vision.detection.search import TILT_DEGREES, WEBCAM_FACE_SHARE, Search

# Rolls of the turned copies, clockwise and anticlockwise. A copy finds faces with 15 degrees more or less.
_TURNED_IMAGE_DEGREES = (TILT_DEGREES, 45.0)
_LYING_IMAGE_DEGREES = (90.0,)
# Smallest faces in a turned copy, as shares of the image's mean side.
_TURNED_FACE_SHARE = 0.06
_TILTED_HEAD_SHARE = 0.09


def add_turned_faces(search: Search, min_share: float) -> None:
    """Add the turned faces of an image whose upright faces are known.

    Rejected places are verified again, turned. If there is no upright face, copies of the image with several rolls are
    searched. If there are several faces, some of them tilted heads perhaps, copies with the roll of tilted heads are.

    Args:
        search: Search with the upright faces.
        min_share: Smallest face, as a share of the mean side.
    """
    search.add_rejected_turned()
    if all(face.roll_degrees is not None for face in search.faces):
        _add_faces_of_turned_image(search, min_share, _TURNED_IMAGE_DEGREES)
        if not search.faces:
            _add_faces_of_turned_image(search, min_share, _LYING_IMAGE_DEGREES)
    elif len(search.faces) > 1 or search.faces[0].box.width < WEBCAM_FACE_SHARE * search.pyramid.mean_side_px:
        _add_tilted_heads(search, min_share)


def _add_faces_of_turned_image(search: Search, min_share: float, rolls_degrees: tuple[float, ...]) -> None:
    share = max(min_share, _TURNED_FACE_SHARE)
    for roll in rolls_degrees:
        for degrees in (roll, -roll):
            search.add(propose_with_lbp(search.cascades.lbp, search.pyramid, share, MAX_TURNED_SHARE, degrees))


def _add_tilted_heads(search: Search, min_share: float) -> None:
    share = max(min_share, _TILTED_HEAD_SHARE)
    for degrees in (TILT_DEGREES, -TILT_DEGREES):
        search.add(propose_with_haar(search.cascades.haar, search.pyramid, share, MAX_TURNED_SHARE, degrees))
