"""Bad image files: decompression bombs of every format, images of one pixel or one row, and damaged files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from stress.case import OK, Case
from stress.client import post
from tests.support.images import ASTRONAUT
from tests.support.jpeg_files import flat_jpeg, resized_jpeg

# Just below the limit of 40 million pixels.
_LARGEST_SIDE_PX = 6_300
_TOO_MANY = "too_many_pixels"
_SLOW_PIXELS = 1_000_000_000


def image_cases() -> Iterator[Case]:
    """Yield requests whose body is a bad image file."""
    yield from _size_cases()
    yield from _large_jpeg_cases()
    yield from _damaged_cases()


def _size_cases() -> Iterator[Case]:
    for name, data in {
        "PNG of 40,000 x 40,000": png(40_000, 40_000),
        "PNG of 2^31 x 2^31": png(2**31 - 1, 2**31 - 1),
        "GIF of 65,535 x 65,535": gif(65_535, 65_535),
        "WebP of 16,384 x 16,384": webp(16_384, 16_384),
        "TIFF of 60,000 x 60,000": tiff(60_000, 60_000),
        "BMP of 60,000 x 60,000": bmp(60_000, 60_000),
    }.items():
        yield Case(name, post("/predict", data), ("too_many_pixels", "undecodable_image"))
    # Files of a few kB that decode to the largest allowed image, in the colour modes that need the most memory.
    bomb = png(_LARGEST_SIDE_PX, _LARGEST_SIDE_PX, whole=True)
    yield Case("PNG bomb within the limit, grey", post("/predict", bomb), (OK,))
    for mode, image_format in (("RGB", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGB", "WEBP"), ("RGB", "JPEG")):
        bomb = _encode(Image.new(mode, (_LARGEST_SIDE_PX, _LARGEST_SIDE_PX)), image_format)
        yield Case(f"{image_format} bomb within the limit, {mode}", post("/predict", bomb), (OK, "too_many_pixels"))
    for size in ((1, 1), (1, 60_000), (60_000, 1)):
        for image_format in ("PNG", "GIF", "BMP", "TIFF"):
            data = _encode(Image.new("L", size, 128), image_format)
            yield Case(f"{image_format} of {size[0]} x {size[1]}", post("/predict", data), ("image_too_small",))


def _large_jpeg_cases() -> Iterator[Case]:
    """Yield JPEGs that are decoded smaller, at the limits of every kind of JPEG."""
    full_chroma = {"subsampling": 0}
    for mode, options, (width, height), result in (
        ("L", {}, (16_320, 12_240), OK),
        ("RGB", {}, (16_320, 12_240), OK),
        ("RGB", full_chroma, (16_320, 12_240), OK),
        ("CMYK", {}, (16_320, 12_240), OK),
        ("L", {}, (50_500, 50_500), OK),
        ("RGB", {}, (65_500, 39_000), OK),
        ("RGB", full_chroma, (36_000, 36_000), OK),
        ("CMYK", {}, (32_000, 32_000), OK),
        ("CMYK", {}, (35_000, 35_000), _TOO_MANY),
        ("L", {}, (65_500, 65_500), _TOO_MANY),
    ):
        kind = " ".join((mode, *options))
        data = flat_jpeg(mode, width, height, **options)
        slow = ("deadline_exceeded",) if width * height > _SLOW_PIXELS else ()  # on a busy machine
        yield Case(f"JPEG of {width:,} x {height:,}, {kind}", post("/predict", data), (result, *slow))
    cut = resized_jpeg(flat_jpeg("RGB", 64, 64), 16_320, 12_240)
    yield Case("JPEG of 16,320 x 12,240 almost without blocks", post("/predict", cut), (OK, "undecodable_image"))
    yield from _progressive_cases()


def _progressive_cases() -> Iterator[Case]:
    """Yield progressive JPEGs, whose decoder holds the coefficients of the full image, below and above the limits."""
    full_chroma = {"subsampling": 0}
    for mode, options, largest, refused in (
        ("RGB", {}, (8_064, 6_048), (8_160, 6_120)),
        ("RGB", full_chroma, (6_000, 3_990), (6_000, 4_100)),
        ("L", {}, (9_600, 7_500), (9_600, 7_700)),
        ("CMYK", {}, (4_700, 3_500), (4_700, 3_600)),
        ("RGB", {}, None, (16_320, 12_240)),
        ("RGB", {}, None, (65_500, 65_500)),
    ):
        small = _encode(Image.new(mode, (64, 64)), "JPEG", progressive=True, **options)
        for size, result in ((largest, OK), (refused, _TOO_MANY)):
            if size is not None:
                whole = result == OK
                data = (
                    _encode(Image.new(mode, size), "JPEG", progressive=True, **options)
                    if whole
                    else resized_jpeg(small, *size)
                )
                kind = " ".join(("progressive", mode, *options))
                yield Case(f"JPEG of {size[0]:,} x {size[1]:,}, {kind}", post("/predict", data), (result,))


def _damaged_cases() -> Iterator[Case]:
    photo = ASTRONAUT.read_bytes()
    gif_head = b"GIF89a\x40\x00\x40\x00\x00\x00\x00"
    for name, data in {
        "JPEG cut in the middle": photo[: len(photo) // 2],
        "JPEG of 2,500,000 segments": photo[:2] + b"\xff\xe1\x00\x02" * 2_500_000 + photo[2:],
        "JPEG of 2,500,000 comments": photo[:2] + b"\xff\xfe\x00\x02" * 2_500_000 + photo[2:],
        "JPEG of 10,000,000 fill bytes": photo[:2] + b"\xff" * 10_000_000 + photo[2:],
        "GIF with a comment of 5,000,000 blocks": gif_head + b"!\xfe" + b"\x01a" * 5_000_000,
    }.items():
        yield Case(name, post("/predict", data), ("undecodable_image",))
    yield Case("empty body", post("/predict", b""), ("empty_image",))
    yield Case("one byte", post("/predict", b"\xff"), ("unsupported_image_format",))


def _encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def png(
    width: int,
    height: int,
    bits: int = 8,
    colour_type: int = 0,
    rows: bytes = b"",
    *,
    whole: bool = False,
    before: tuple[bytes, bytes] | None = None,
) -> bytes:
    """Return a PNG whose header claims this size.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        bits: Bits of a sample.
        colour_type: Colour type of the header.
        rows: Rows with their filter bytes; empty for black.
        whole: Include all pixels of a black grey image, in one compressed chunk.
        before: Type and content of a chunk before the pixels.
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(rows or (bytes((width + 1) * height) if whole else bytes(100)), 9)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    metadata = chunk(*before) if before else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + metadata + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    """Return a GIF whose headers claim this size, almost without pixels."""
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + image


def webp(width: int, height: int) -> bytes:
    """Return a WebP whose headers claim this size, almost without pixels."""
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    lossless = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x00"
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(lossless)) + b"WEBP" + extended + lossless


def tiff(width: int, height: int) -> bytes:
    """Return a grey TIFF whose header claims this size, almost without pixels."""
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def bmp(width: int, height: int) -> bytes:
    """Return a BMP header that claims this size."""
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6)
