"""Supported image file formats and their signatures.

To add a format, add its signature here and the memory that its decoder needs to `limits`.
"""

from __future__ import annotations

from PIL import Image

SUPPORTED_FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"

# Pillow's names for JPEG files. MPO is a JPEG with more images after the first one, written by phones.
JPEG_FORMATS = frozenset({"JPEG", "MPO"})

# First bytes of a file, and Pillow's name for the format.
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


def identify_format(data: bytes) -> str | None:
    """Return Pillow's name for the format of a file, or None if the signature is unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def is_plain_webp(image: Image.Image) -> bool:
    """Return whether an opened file is a WebP without transparency and animation, which OpenCV can decode."""
    return image.format == "WEBP" and image.mode == "RGB" and not getattr(image, "is_animated", False)
