"""JPEG files whose picture ends early."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops, JpegImagePlugin

from app.errors import ErrorCode, FerError
from app.vision.decode.jpeg import find_end_of_image

# The decoder fills what is missing with the middle grey level, because all coefficients are 0.
_FILL = 128
# With less of the picture, a face would be missing more often than not.
_MAX_MISSING_SHARE = 0.25
_STRIP_ROWS = 256
# Any data that codes a picture: the decoder reads it only if the picture is incomplete. It has no 0xFF.
_MORE_DATA = np.random.default_rng(0).integers(0, 255, 4096, dtype=np.uint8).tobytes()


def is_truncated(image: Image.Image, data: bytes) -> bool:
    """Return whether the picture data of a JPEG with an end marker is incomplete.

    The test costs nothing for most pictures: the last pixel of an incomplete picture has the level that the decoder
    fills in. The picture is decoded twice only if it ends with this level.

    Args:
        image: The decoded image, as stored.
        data: The file.
    """
    width, height = image.size
    return image.mode == "L" and image.getpixel((width - 1, height - 1)) == _FILL and _reads_more(image, data)


def check_missing_share(image: Image.Image) -> None:
    """Refuse a truncated JPEG of which too much is missing.

    Args:
        image: The decoded image, as stored.

    Raises:
        FerError: `undecodable_image`.
    """
    if image.mode != "L":
        return
    filled = Image.new("L", image.size, _FILL)
    box = ImageChops.difference(image, filled).getbbox()
    missing = 1 - (box[3] if box else 0) / image.height
    if missing > _MAX_MISSING_SHARE:
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE,
            f"at most {_MAX_MISSING_SHARE:.0%} of a JPEG may be missing. Received: a file that ends"
            f" {missing:.0%} of the picture early",
        )


def _reads_more(image: Image.Image, data: bytes) -> bool:
    """Return whether the decoder uses data that is inserted before the end marker."""
    end = find_end_of_image(data)
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data[:end] + _MORE_DATA + data[end:])) as extended:
        reduction = -(-extended.width // image.width)  # of `image`
        extended.draft("L", (extended.width // reduction, extended.height // reduction))
        extended.load()
        width, height = image.size
        for bottom in range(height, 0, -_STRIP_ROWS):
            box = (0, max(0, bottom - _STRIP_ROWS), width, bottom)
            if ImageChops.difference(image.crop(box), extended.crop(box)).getbbox():
                return True
    return False
