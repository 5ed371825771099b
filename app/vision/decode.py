"""From the bytes of an image file to the upright grey image. The only place that decodes what strangers send.

The format is sniffed from the first bytes and the size is read from the header before any pixel is decoded. Of a file
with many frames, only the first is decoded. Nothing here detects, crops or scales.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from app.contract.preprocess import GreyImage
from app.errors import ErrorCode, FerError

MIN_SIDE_PX = 8

# What a file of each format begins with, and Pillow's name of the format.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
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
        with Image.open(io.BytesIO(data), formats=(image_format,)) as image:
            _check_size(image.width, image.height, max_pixels)
            return _upright_grey(image)
    except FerError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS, f"the image has far more than the {max_pixels} pixels that are accepted"
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


def _upright_grey(image: Image.Image) -> GreyImage:
    image.draft("L", None)  # a JPEG then decodes its luma only; other formats ignore it
    image.load()
    grey = _to_grey(image)
    # Read after loading: a PNG may carry EXIF behind its pixels, and a TIFF turns itself upright while it loads.
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return np.asarray(grey if turn is None else grey.transpose(turn), dtype=np.uint8)


def _to_grey(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        levels = np.asarray(image).astype(np.float32)
        return Image.fromarray((levels / 257 + 0.5).astype(np.uint8))  # 65535 / 255 = 257; convert("L") would clip
    if image.mode in _UNBOUNDED:
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE, f"expected 8 or 16 bits a channel. Received: 32 bits (mode {image.mode})"
        )
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("L")
    return image if image.mode == "L" else image.convert("RGB").convert("L")
