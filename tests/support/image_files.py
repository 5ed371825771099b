"""Image files for the tests of decoding, and assertions about decoded images."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode, FerError
from app.vision.decode import decode_grey

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 40_000_000
# Smooth, so that lossy formats keep it within a few levels; asymmetric, so that a wrong orientation shows.
SCENE = np.add.outer(np.linspace(0, 150, 32), np.linspace(0, 100, 48)).astype(np.uint8)


def encode(image: Image.Image, image_format: str, **options) -> bytes:
    """Return the image as a file."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def png_file(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with the given chunks (type, content) and an end chunk."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*chunks, (b"IEND", b""))
    )


def png_header(width: int, height: int, bits: int = 8, colour_type: int = 0) -> tuple[bytes, bytes]:
    """Return the IHDR chunk of a PNG."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)


def lossless_jpeg(pixels: np.ndarray) -> bytes:
    """Return a lossless JPEG (frame SOF3, predictor 1) of a grey image, with codes of five bits."""
    levels = pixels.astype(int)
    predicted = np.empty_like(levels)
    predicted[:, 1:], predicted[1:, 0], predicted[0, 0] = levels[:, :-1], levels[:-1, 0], 128
    bits = ""
    for difference in (levels - predicted).ravel().tolist():
        length = abs(difference).bit_length()
        value = difference if difference > 0 else difference + (1 << length) - 1
        bits += f"{length:05b}" + (f"{value:0{length}b}" if length else "")
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    frame = segment(0xC3, struct.pack(">BHHB", 8, *pixels.shape, 1) + bytes([1, 0x11, 0]))
    table = segment(0xC4, bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)]))
    return b"\xff\xd8" + frame + table + segment(0xDA, bytes([1, 1, 0, 1, 0, 0])) + coded + b"\xff\xd9"


def assert_close(decoded: np.ndarray, expected: np.ndarray, levels: int = 10) -> None:
    assert decoded.dtype == np.uint8
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected.astype(int)).max() <= levels


def assert_refused(code: ErrorCode, data: bytes, max_pixels: int = MAX_PIXELS) -> FerError:
    """Assert that decoding fails with a code; return the error."""
    with pytest.raises(FerError) as caught:
        decode_grey(data, max_pixels)
    assert caught.value.code == code
    return caught.value
