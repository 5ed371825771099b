"""Supported image file formats and their signatures.

To add a format, add its signature here and the memory that its decoder needs to `limits`.
"""

from __future__ import annotations

from PIL import Image

from app.vision.decode.isobmff import read_brands

SUPPORTED_FORMATS = "JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF"

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

# Brands of ISO base media files. The generic brands do not identify the codec. Sources: ISO/IEC 23008-12, AVIF 1.1.
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_GENERIC_BRANDS = frozenset({b"mif1", b"msf1", b"mif2", b"miaf", b"1pic"})

_PNG_COLOUR_TYPES = frozenset({2, 4, 6})  # RGB, grey with alpha, RGBA
_RUN_LENGTH_COMPRESSIONS = frozenset({1, 2})  # BI_RLE8, BI_RLE4


def identify_format(data: bytes) -> str | None:
    """Return Pillow's name for the format of a file, `HEIF` for HEIC and HEIF, or None if the signature is unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _identify_brand(data)
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def _identify_brand(data: bytes) -> str | None:
    major, *compatible = read_brands(data) or [b""]
    for brand in [major, *compatible] if major in _GENERIC_BRANDS else [major]:
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIC_BRANDS:
            return "HEIF"
    return None


def is_run_length_bmp(image: Image.Image) -> bool:
    """Return whether an opened file is a run-length coded BMP, which Pillow decodes byte by byte in Python."""
    return image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH_COMPRESSIONS


def is_deep_colour_png(image: Image.Image, data: bytes) -> bool:
    """Return whether an opened file is a PNG with colours of 16 bits, of which Pillow keeps 8."""
    return image.format == "PNG" and data[24] == 16 and data[25] in _PNG_COLOUR_TYPES  # IHDR


def is_plain_webp(image: Image.Image) -> bool:
    """Return whether an opened file is a WebP without transparency and animation, which OpenCV can decode."""
    return image.format == "WEBP" and image.mode == "RGB" and not getattr(image, "is_animated", False)
