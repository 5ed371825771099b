"""16-bit files that use a part of their range."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.vision.decode import decode_grey
from tests.support.image_files import MAX_PIXELS, SCENE, assert_close, encode, png_file, png_header

FULL = SCENE.copy()
FULL[:2], FULL[-2:] = 0, 255  # so that the range in use is the full range


def png_16(levels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a 16-bit PNG from integers (H, W) or (H, W, channels)."""
    height, width = levels.shape[:2]
    channels = 1 if levels.ndim == 2 else levels.shape[2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = png_header(width, height, bits=16, colour_type=colour_type)
    return png_file(header, *chunks, (b"IDAT", zlib.compress(rows)))


def levels_of(bits: int) -> np.ndarray:
    return np.rint(FULL.astype(np.float64) * ((1 << bits) - 1) / 255).astype(np.int64)


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("bits", range(9, 17))
def test_decode_grey_scales_a_16_bit_png_of_fewer_bits(bits, declared):
    chunks = [(b"sBIT", bytes([bits]))] if declared else []
    assert_close(decode_grey(png_16(levels_of(bits), *chunks), MAX_PIXELS), FULL, levels=2)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_decode_grey_does_not_scale_a_png_whose_sbit_levels_fill_the_range(bits):
    # The PNG specification scales samples to 16 bits; sBIT says how many were significant.
    levels = levels_of(bits) << (16 - bits)
    assert_close(decode_grey(png_16(levels, (b"sBIT", bytes([bits]))), MAX_PIXELS), FULL, levels=2)


@pytest.mark.parametrize("offset", [0, 500, 30_000, 51_241, 64_000])
def test_decode_grey_scales_a_narrow_window_anywhere_in_the_range(offset):
    levels = offset + levels_of(10)
    assert_close(decode_grey(png_16(levels), MAX_PIXELS), FULL, levels=2)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_decode_grey_scales_16_bit_colours_of_fewer_bits(bits, channels):
    levels = np.repeat(levels_of(bits)[:, :, np.newaxis], channels, axis=2)
    if channels in {2, 4}:
        levels[:, :, -1] = 65535
    assert_close(decode_grey(png_16(levels), MAX_PIXELS), FULL, levels=2)


def test_decode_grey_ignores_hot_pixels():
    levels = np.kron(levels_of(12), np.ones((10, 10), np.int64))
    levels[5, 5] = levels[200, 300] = 65535
    decoded = decode_grey(png_16(levels), MAX_PIXELS)
    expected = np.kron(FULL, np.ones((10, 10), np.uint8))
    expected[5, 5] = expected[200, 300] = 255
    assert_close(decoded, expected, levels=3)


def test_decode_grey_does_not_scale_an_image_without_content():
    assert np.ptp(decode_grey(png_16(np.full((16, 16), 20_000)), MAX_PIXELS)) == 0
    noise = 20_000 + np.random.default_rng(0).integers(0, 20, (64, 64))
    assert np.ptp(decode_grey(png_16(noise), MAX_PIXELS)) <= 1


def test_decode_grey_keeps_dark_8_bit_images():
    dark = (SCENE // 16).astype(np.uint8)
    assert_close(decode_grey(encode(Image.fromarray(dark), "PNG"), MAX_PIXELS), dark, levels=0)


def bmp_32(pixels: np.ndarray, header_bytes: int, masks: tuple[int, ...]) -> bytes:
    """Return a bottom-up BMP of 32 bits from uint8 (H, W, 4)."""
    height, width = pixels.shape[:2]
    offset = 14 + header_bytes
    compression = 3 if masks else 0
    info = struct.pack("<IiiHHIIiiII", header_bytes, width, height, 1, 32, compression, 0, 0, 0, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    info += bytes(header_bytes - len(info))
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, offset) + info + pixels[::-1].tobytes()


@pytest.mark.parametrize("kind", ["PNG", "LA PNG", "WEBP", "TIFF", "BMP", "BMP v4", "BMP v5", "palette"])
def test_decode_grey_ignores_alpha_that_is_0_everywhere(kind):
    transparent = Image.fromarray(SCENE).convert("RGB")
    transparent.putalpha(0)
    if kind.startswith("BMP"):
        pixels = np.dstack([SCENE, SCENE, SCENE, np.zeros_like(SCENE)])
        masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000) if "v" in kind else ()
        data = bmp_32(pixels, {"BMP": 40, "BMP v4": 108, "BMP v5": 124}[kind], masks)
    elif kind == "palette":
        data = encode(Image.fromarray(SCENE).convert("P"), "PNG", transparency=bytes(256))
    elif kind == "LA PNG":
        data = encode(transparent.convert("LA"), "PNG")
    elif kind == "WEBP":
        data = encode(transparent, "WEBP", lossless=True, exact=True)
    else:
        data = encode(transparent, kind)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)
