"""Search for turned faces."""

from __future__ import annotations

from app.vision.detection.proposals import propose_with_haar
from app.vision.detection.search import MAX_TURNED_SHARE, TILT_DEGREES, Search

# Rolls of the turned copies, clockwise and anticlockwise. A copy finds faces with 15 degrees more or less.
_TILTED_HEAD_DEGREES = (TILT_DEGREES,)
_TURNED_IMAGE_DEGREES = (TILT_DEGREES, 45.0)
_LYING_IMAGE_DEGREES = (90.0,)
_MIN_FACE_SHARE = 0.06  # smallest face in a turned copy, as a share of the image's mean side


def add_turned_faces(search: Search, min_share: float) -> None:
    """Add the turned faces of an image whose upright faces are known.

    Rejected places are verified again, turned. If there is no upright face, all turned copies are searched. If there
    are several faces or a tilted one, copies with the roll of tilted heads are searched.

    Args:
        search: Search with the upright faces.
        min_share: Smallest face, as a share of the mean side.
    """
    search.add_rejected_turned()
    if all(face.roll_degrees is not None for face in search.faces):
        _search_copies(search, min_share, _TURNED_IMAGE_DEGREES)
        if not search.faces:
            _search_copies(search, min_share, _LYING_IMAGE_DEGREES)
    elif len(search.faces) > 1:
        _search_copies(search, min_share, _TILTED_HEAD_DEGREES)


def _search_copies(search: Search, min_share: float, rolls_degrees: tuple[float, ...]) -> None:
    share = max(min_share, _MIN_FACE_SHARE)
    for roll in rolls_degrees:
        for degrees in (roll, -roll):
            search.add(propose_with_haar(search.cascades.haar, search.pyramid, share, MAX_TURNED_SHARE, degrees))
