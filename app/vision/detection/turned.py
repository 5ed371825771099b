"""Search for turned faces."""

from __future__ import annotations

from app.vision.detection.proposals import propose_with_haar, propose_with_lbp
from app.vision.detection.search import MAX_TURNED_SHARE, TILT_DEGREES, WEBCAM_FACE_SHARE, Search

# Rolls of the turned copies, clockwise and anticlockwise. A copy finds faces with 15 degrees more or less.
_TURNED_IMAGE_DEGREES = 35.0
_LYING_IMAGE_DEGREES = 90.0
# Smallest faces in a turned copy, as shares of the image's mean side.
_TURNED_FACE_SHARE = 0.06
_TILTED_HEAD_SHARE = 0.09
_SIMILAR_SIZE = 0.72  # of the smallest upright face


def add_turned_faces(search: Search, min_share: float) -> None:
    """Add the turned faces of an image whose upright faces are known.

    One large upright face is the picture of a webcam or a portrait: nothing is added. Otherwise rejected places are
    verified again, turned. If there is no upright face, turned copies of the image are searched. Beside
    upright faces, copies with the roll of tilted heads are searched for faces of a similar size.

    Args:
        search: Search with the upright faces.
        min_share: Smallest face, as a share of the mean side.
    """
    upright = [face.box.width / search.pyramid.mean_side_px for face in search.faces if face.roll_degrees is None]
    if len(search.faces) == len(upright) == 1 and upright[0] >= WEBCAM_FACE_SHARE:
        return
    search.add_rejected_turned()
    if upright:
        _add_tilted_heads(search, max(min_share, _TILTED_HEAD_SHARE, _SIMILAR_SIZE * min(upright)))
        return
    _add_faces_of_turned_image(search, min_share, _TURNED_IMAGE_DEGREES)
    if not search.faces:
        _add_faces_of_turned_image(search, min_share, _LYING_IMAGE_DEGREES)


def _add_faces_of_turned_image(search: Search, min_share: float, roll_degrees: float) -> None:
    share = max(min_share, _TURNED_FACE_SHARE)
    for degrees in (roll_degrees, -roll_degrees):
        search.add(propose_with_lbp(search.cascades.lbp, search.pyramid, share, MAX_TURNED_SHARE, degrees))


def _add_tilted_heads(search: Search, min_share: float) -> None:
    for degrees in (TILT_DEGREES, -TILT_DEGREES):
        search.add(propose_with_haar(search.cascades.haar, search.pyramid, min_share, MAX_TURNED_SHARE, degrees))
