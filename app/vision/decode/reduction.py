"""Choice of the reduction at which a JPEG is decoded.

The JPEG decoder can return an image at 1/2, 1/4 or 1/8 of its size. It then computes fewer pixels from the coefficients
of each 8x8 block, so a large photograph takes a fraction of the time and of the memory. The results are those of
area averaging within a few grey levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from app.contract.preprocess import CROP_SIZE_PX

# Reduction of an image by its width and height: 1, 2, 4 or 8.
ChooseReduction = Callable[[int, int], int]

_REDUCTIONS = (8, 4, 2)
# Smallest side of a square with the area of the decoded image. The detector searches faces that are a share of the
# picture: at this size, faces of 2.9 % of the side still have the 48 pixels that verification and crops use.
# Photographs of 12 megapixels are decoded at 1/2, of 48 at 1/4, of 200 at 1/8.
DETECTION_SIDE_PX = 1700
# Smallest short side of an image that is one cropped face. Pixels are averaged to 48x48 from there.
FACE_SIDE_PX = 4 * CROP_SIZE_PX


def full_size(width: int, height: int) -> int:
    """Return 1: no reduction."""
    del width, height
    return 1


def fixed(reduction: int) -> ChooseReduction:
    """Return the choice of one reduction for all sizes."""
    return lambda width, height: reduction


def for_detection(width: int, height: int) -> int:
    """Return the largest reduction that detection allows for an image of this size in pixels."""
    return _largest(math.sqrt(width * height), DETECTION_SIDE_PX)


def for_one_face(width: int, height: int) -> int:
    """Return the largest reduction for an image of this size in pixels that is one cropped face."""
    return _largest(min(width, height), FACE_SIDE_PX)


def for_crop(side_px: int) -> int:
    """Return the largest reduction at which a face keeps the resolution of a crop.

    Args:
        side_px: Side of the face in pixels of the full image.
    """
    return _largest(side_px, CROP_SIZE_PX)


def _largest(side_px: float, needed_px: int) -> int:
    return next((reduction for reduction in _REDUCTIONS if side_px >= reduction * needed_px), 1)
