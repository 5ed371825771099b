"""Limits on pixels, memory and decoding time. All checks read the header only.

A file of a few kilobytes can decode to hundreds of megabytes, or keep a decoder busy for minutes.
"""

from __future__ import annotations

import io

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from app.errors import ErrorCode, FerError
from app.vision.decode.formats import is_plain_webp
from app.vision.decode.jpeg import JpegStructure, coefficients_per_pixel
from app.vision.decode.reduction import ChooseReduction, full_size

MIN_SIDE_PX = 8

# The decoder processes the whole image once per scan. A scan of 61 bytes takes 27 ms at 40 million pixels, so 20 MiB of
# scans would keep a thread busy for more than an hour. Encoders write about ten scans.
MAX_JPEG_SCANS = 50

# Peak memory of one decoding. The bytes per pixel below include what Pillow holds at the same time, the grey image and
# its copies. Source: peak memory measured with images of 6300x6300 pixels (`python -m stress.bad_input` checks it).
MAX_DECODE_BYTES = 150_000_000
_GREY_BYTES = 3.0
_MODE_BYTES = {"LA": 10.8, "La": 10.8, "CMYK": 8.9, "YCCK": 8.9, "RGB": 6.9, "RGBA": 6.9, "RGBX": 6.9}
_OTHER_MODE_BYTES = 6.0  # palette, 1 bit, 16 bit
_PLAIN_WEBP_BYTES, _OTHER_WEBP_BYTES = 4.2, 15.8
_COEFFICIENT_BYTES = 2  # a progressive JPEG also holds the coefficients of the full image, whatever the reduction

_MIN_READS, _BYTES_PER_READ = 10_000, 512

_TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 0x0142, 0x0143


class BoundedReader(io.BytesIO):
    """File in memory with a limit on the number of reads, proportional to the file size.

    Pillow reads headers in small pieces and keeps them: a JPEG with millions of 4-byte segments takes seconds and
    hundreds of megabytes before the first pixel. Files from cameras and encoders need some hundred reads, a PNG with
    small chunks one read per kilobyte or two.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = _MIN_READS + len(data) // _BYTES_PER_READ

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like `io.BytesIO.read`.

        Raises:
            ValueError: The limit on the number of reads is reached.
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ValueError("the file needs too many reads")
        return super().read(size)


def check_limits(image: Image.Image, data: bytes, max_pixels: int, choose: ChooseReduction = full_size) -> int:
    """Refuse an image that is too large, too small or too expensive to decode.

    Args:
        image: Opened file whose pixels are not decoded yet.
        data: The same file.
        max_pixels: Largest accepted width times height of the decoded image.
        choose: Chooses the reduction of a JPEG.

    Returns:
        The reduction at which to decode the image: 1, 2, 4 or 8.

    Raises:
        FerError: `too_many_pixels`, `image_too_small` or `undecodable_image` (too many JPEG scans).
    """
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _check_jpeg(image, data, max_pixels, choose)
    check_size(image.width, image.height, max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tile(image, max_pixels)
    kind = f"{image.format} file of mode {image.mode}"
    check_memory(image.width, image.height, _bytes_per_pixel(image), kind)
    return 1


def _check_jpeg(image: JpegImagePlugin.JpegImageFile, data: bytes, max_pixels: int, choose: ChooseReduction) -> int:
    """Check a JPEG: the pixels that are decoded count, and the coefficients that the decoder holds."""
    structure = JpegStructure.of(image, data)
    reduction = 1 if structure.is_lossless else choose(image.width, image.height)
    check_size(image.width, image.height, max_pixels * reduction**2)
    if structure.scans > MAX_JPEG_SCANS:
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE, f"at most {MAX_JPEG_SCANS} scans are accepted in a JPEG. Received: more"
        )
    # Only the luma of a colour JPEG is decoded; CMYK has no luma.
    converted, channels = (_MODE_BYTES["CMYK"], 4) if image.mode == "CMYK" else (_GREY_BYTES, 1)
    coefficients = coefficients_per_pixel(image) * _COEFFICIENT_BYTES if structure.is_buffered else 0.0
    bytes_per_pixel = max(converted / reduction**2, channels / reduction**2 + coefficients)
    kind = f"JPEG file of mode {image.mode}"
    if structure.is_buffered:
        kind = f"progressive {kind} (send it smaller, or as a baseline JPEG)"
    check_memory(image.width, image.height, bytes_per_pixel, kind)
    return reduction


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image with too many pixels or too short a side.

    Raises:
        FerError: `too_many_pixels` or `image_too_small`.
    """
    if width * height > max_pixels:
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS,
            f"at most {max_pixels} pixels are accepted. Received: {width * height} ({width}x{height})",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise FerError(
            ErrorCode.IMAGE_TOO_SMALL,
            f"both sides need at least {MIN_SIDE_PX} pixels. Received: {width}x{height}",
        )


def _check_tile(image: TiffImagePlugin.TiffImageFile, max_pixels: int) -> None:
    # The decoder decodes complete tiles, even if only a corner of a tile is inside the image.
    width, length = image.tag_v2.get(_TILE_WIDTH_TAG, 0), image.tag_v2.get(_TILE_LENGTH_TAG, 0)
    if width * length > max_pixels:
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS,
            f"at most {max_pixels} pixels are accepted in a tile. Received: {width}x{length}",
        )


def check_memory(width: int, height: int, bytes_per_pixel: float, kind: str) -> None:
    """Refuse an image whose decoding takes too much memory.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        bytes_per_pixel: Peak memory of decoding.
        kind: The kind of file, for the error.

    Raises:
        FerError: `too_many_pixels`.
    """
    max_pixels = int(MAX_DECODE_BYTES / bytes_per_pixel)
    if width * height > max_pixels:
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS,
            f"at most {max_pixels} pixels are accepted in a {kind}, which takes much memory to decode."
            f" Received: {width * height} ({width}x{height})",
        )


def _bytes_per_pixel(image: Image.Image) -> float:
    """Return the peak memory of decoding a file that is not a JPEG, in bytes per pixel."""
    if image.format == "WEBP":
        return _PLAIN_WEBP_BYTES if is_plain_webp(image) else _OTHER_WEBP_BYTES
    if image.format == "AVIF":
        return _GREY_BYTES  # `picture_items` has checked all of it
    if image.mode == "L":
        return _MODE_BYTES["LA"] if "transparency" in image.info else _GREY_BYTES
    return _MODE_BYTES.get(image.mode, _OTHER_MODE_BYTES)
