"""From the bytes of an image file to the upright grey image. The only place that decodes what strangers send.

The format is sniffed from the first bytes and the size is read from the header before any pixel is decoded. Of a file
with many frames, only the first is decoded. Nothing here detects, crops or scales.
"""

from __future__ import annotations

import io
import re
import sys

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from app.contract.preprocess import GreyImage
from app.errors import ErrorCode, FerError

MIN_SIDE_PX = 8
# Every scan of a JPEG makes the decoder walk over the whole picture, and one of 61 bytes costs 27 ms at 40 million
# pixels: 10 MiB of them would hold a thread for more than an hour. Encoders write about ten.
MAX_JPEG_SCANS = 50

# Most memory that one picture may take while it is decoded. A file of a few kilobytes can ask for as much as the pixel
# limit allows, and what a pixel takes depends on the format and the mode of the file: what Pillow holds at once, with
# the grey picture and its copies. A JPEG of several scans also keeps two bytes for each coefficient.
# Source: peak memory measured on pictures of 6300x6300 (`python -m stress.badinput` checks it).
MAX_DECODE_BYTES = 150_000_000
_GREY_BYTES = 3.0
_MODE_BYTES = {"LA": 10.8, "La": 10.8, "CMYK": 8.9, "YCCK": 8.9, "RGB": 6.9, "RGBA": 6.9, "RGBX": 6.9}
_OTHER_MODE_BYTES = 6.0  # palettes, one bit, 16 bits
_WEBP_BYTES, _ANIMATED_WEBP_BYTES = 4.2, 15.8
_COEFFICIENT_BYTES = 2
_STRIP_BYTES = 1024 * 1024

_LEAST_READS, _BYTES_A_READ = 10_000, 512

_JPEGS = frozenset({"JPEG", "MPO"})  # Pillow's names; the second is of a phone's, with more pictures behind the first
# What a file of each format begins with, and Pillow's name of the format.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)
# A marker that has a length or ends the picture: not a stuffed byte, nor a restart. Source: ITU-T T.81, table B.1.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", b"\xff\xda"
_JPEG_SCAN_PAIR = int.from_bytes(_JPEG_SCAN, sys.byteorder)
_TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 0x0142, 0x0143
_ORIENTATION_TAG = 0x0112
# How to turn a picture upright by its EXIF orientation (1 is upright). Source: EXIF 2.32, 4.6.4.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_UNBOUNDED = frozenset({"I", "F"})  # 32-bit integers and floats: no range says what white is


class _FileInPieces(io.BytesIO):
    """A file that is read in so many pieces at most.

    Pillow reads headers piece by piece and keeps what it finds: a JPEG of four-byte segments takes seconds and hundreds
    of megabytes before its first pixel. Files from cameras and encoders are read in some hundred pieces, PNGs of small
    chunks in one for each kilobyte or two.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _LEAST_READS + len(data) // _BYTES_A_READ

    def read(self, size: int | None = -1, /) -> bytes:
        """As the base class.

        Raises:
            ValueError: There were too many pieces.
        """
        self._left -= 1
        if self._left < 0:
            raise ValueError("the file is read in too many pieces")
        return super().read(size)


def decode_grey(data: bytes, max_pixels: int) -> GreyImage:
    """Decodes an image file. Thread-safe.

    Args:
        data: The whole file: JPEG, PNG, WebP, BMP, GIF or TIFF, in any of their usual colour modes. Transparent
            pixels become white.
        max_pixels: Largest width times height that is decoded.

    Returns:
        uint8 (H, W), upright: EXIF orientation is applied.

    Raises:
        FerError: `empty_image`, `unsupported_image_format`, `too_many_pixels`, `image_too_small` or
            `undecodable_image`.
    """
    if not data:
        raise FerError(ErrorCode.EMPTY_IMAGE, "the image has no bytes")
    image_format = _sniff(data)
    if image_format is None:
        raise FerError(
            ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
            "expected a JPEG, PNG, WebP, BMP, GIF or TIFF file. Received: bytes that begin like none of them",
        )
    try:
        with Image.open(_FileInPieces(data), formats=(image_format,)) as image:
            _check_size(image.width, image.height, max_pixels)
            scans = _count_scans(data) if image.format in _JPEGS else 0
            _check_cost(image, scans, max_pixels)
            _check_memory(image, scans)
            return _upright_grey(image, data)
    except FerError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # Pillow's own, where it is the lower
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS, f"at most {limit} pixels are accepted. Received: an image of more"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly every kind of exception on damaged files
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE,
            f"the {image_format} file is truncated, corrupt or of a kind that cannot be read ({len(data)} bytes)",
        ) from error


def _sniff(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def _check_size(width: int, height: int, max_pixels: int) -> None:
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


def _check_cost(image: Image.Image, scans: int, max_pixels: int) -> None:
    """Refuses small pictures that are dear to decode."""
    if scans > MAX_JPEG_SCANS:
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE, f"at most {MAX_JPEG_SCANS} scans are accepted in a JPEG. Received: more"
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A tile is decoded whole, however little of it lies inside the picture.
        tile_width, tile_length = image.tag_v2.get(_TILE_WIDTH_TAG, 0), image.tag_v2.get(_TILE_LENGTH_TAG, 0)
        if tile_width * tile_length > max_pixels:
            raise FerError(
                ErrorCode.TOO_MANY_PIXELS,
                f"at most {max_pixels} pixels are accepted in a tile. Received: {tile_width}x{tile_length}",
            )


def _check_memory(image: Image.Image, scans: int) -> None:
    most = int(MAX_DECODE_BYTES / _bytes_per_pixel(image, scans))
    if image.width * image.height > most:
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS,
            f"at most {most} pixels are accepted in a {image.format} file of this kind ({image.mode}), which takes much"
            f" memory to decode. Received: {image.width * image.height} ({image.width}x{image.height})",
        )


def _bytes_per_pixel(image: Image.Image, scans: int) -> float:
    """What decoding takes at its peak, for a picture of which only the header was read."""
    if image.format == "WEBP":
        return _WEBP_BYTES if _is_plain_webp(image) else _ANIMATED_WEBP_BYTES
    if image.format in _JPEGS:
        # Of colours only the luma is decoded. What comes in several scans is gathered before any pixel is there.
        converted, pixel = (_MODE_BYTES["CMYK"], 4) if image.mode == "CMYK" else (_GREY_BYTES, 1)
        gathered = _coefficients_per_pixel(image) * _COEFFICIENT_BYTES if scans > 1 else 0.0
        return max(converted, pixel + gathered)
    if image.mode == "L":
        return _MODE_BYTES["LA"] if "transparency" in image.info else _GREY_BYTES
    return _MODE_BYTES.get(image.mode, _OTHER_MODE_BYTES)


def _coefficients_per_pixel(image: Image.Image) -> float:
    """Of all components of a JPEG together: 3 without subsampling, 1.5 with the usual one."""
    # Pillow keeps what the frame header says of each component: its id, its sampling across and down, its table.
    samples: list[int] = [across * down for _, across, down, _ in getattr(image, "layer", ())]
    return sum(samples) / max(samples, default=1)


def _is_plain_webp(image: Image.Image) -> bool:
    return image.mode == "RGB" and not getattr(image, "is_animated", False)


def _count_scans(data: bytes) -> int:
    """The scans of a JPEG's first picture. What follows it (more pictures, a phone's video) is never decoded."""
    # Most files hold the bytes of one scan's marker, wherever; to see that takes a fifth of the time of the walk, and
    # leaves the interpreter to others.
    pairs = [np.frombuffer(data, np.uint16, (len(data) - first) // 2, first) for first in (0, 1)]
    anywhere = sum(int(np.count_nonzero(pair == _JPEG_SCAN_PAIR)) for pair in pairs)
    if anywhere <= 1:
        return anywhere
    scans, position = 0, 2
    while (marker := _JPEG_MARKER.search(data, position)) and marker[0] != _JPEG_END:
        scans += marker[0] == _JPEG_SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _upright_grey(image: Image.Image, data: bytes) -> GreyImage:
    if image.format == "WEBP" and _is_plain_webp(image):
        return _plain_webp(image, data)
    image.draft("L", None)  # a JPEG then decodes its luma only; other formats ignore it
    image.load()
    grey = _to_grey(image)
    turn = _turn(image)
    return _pixels(grey if turn is None else grey.transpose(turn))


def _pixels(grey: Image.Image) -> GreyImage:
    """Copied strip by strip: numpy alone has Pillow make two more copies of the whole on the way."""
    rows = max(1, _STRIP_BYTES // grey.width)
    if rows >= grey.height:
        return np.asarray(grey, dtype=np.uint8)
    pixels = np.empty((grey.height, grey.width), dtype=np.uint8)
    for top in range(0, grey.height, rows):
        strip = pixels[top : top + rows]
        strip[:] = np.asarray(grey.crop((0, top, grey.width, top + len(strip))))
    return pixels


def _plain_webp(image: Image.Image, data: bytes) -> GreyImage:
    """By OpenCV, in half the time and a quarter of the memory: Pillow decodes every WebP as an animation."""
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None or decoded.shape != (image.height, image.width):
        raise ValueError("OpenCV cannot decode it")
    turn = _turn(image)
    return np.asarray(decoded if turn is None else Image.fromarray(decoded).transpose(turn), dtype=np.uint8)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn a loaded picture upright. A PNG may carry EXIF behind its pixels; a TIFF turned while it loaded."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged metadata is no reason to refuse a picture whose pixels are sound
        return None


def _to_grey(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        levels = np.asarray(image, dtype=np.uint16)
        grey = np.asarray(cv2.convertScaleAbs(levels, alpha=1 / 257), dtype=np.uint8)  # 65535 / 255; convert() clips
        if (transparent := image.info.get("transparency")) is not None:
            grey[levels == transparent] = 255
        return Image.fromarray(grey)
    if image.mode in _UNBOUNDED:
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE, f"expected 8 or 16 bits a channel. Received: 32 bits (mode {image.mode})"
        )
    if image.has_transparency_data:
        # Blended as grey: a quarter of the memory of blending colours, and the same within rounding.
        coloured = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("L", image.size, 255)
        white.paste(coloured.convert("L"), mask=coloured.getchannel("A"))
        return white
    if image.mode == "L":
        return image
    return (image if image.mode == "RGB" else image.convert("RGB")).convert("L")  # convert() to the same mode copies
