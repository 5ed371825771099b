"""EXIF orientation."""

from __future__ import annotations

from PIL import Image

_ORIENTATION_TAG = 0x0112
# EXIF orientation to the operation that makes the image upright; 1 is upright. Source: EXIF 2.32, 4.6.4.
OPERATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset(
    {
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    }
)


def upright_size(image: Image.Image, stored_size: tuple[int, int]) -> tuple[int, int]:
    """Return the width and the height of an image after its upright operation."""
    width, height = stored_size
    return (height, width) if upright_operation(image) in _SIDEWAYS else stored_size


def upright_operation(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that makes an image upright, or None if it is upright or its metadata is damaged.

    Args:
        image: Loaded image: a PNG may have its EXIF data after its pixels, and Pillow turns a TIFF while it loads.
    """
    try:
        return OPERATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged metadata must not make an intact image unreadable
        return None
