"""Colour modes, bit depths and transparency."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode
from app.vision.decode import decode_grey
from tests.support.image_files import (
    MAX_PIXELS,
    SCENE,
    assert_close,
    assert_refused,
    encode,
    png_file,
    png_header,
)

MODES = {
    "RGBA opaque": (Image.fromarray(SCENE).convert("RGBA"), "PNG"),
    "LA opaque": (Image.fromarray(SCENE).convert("LA"), "PNG"),
    "palette": (Image.fromarray(SCENE).convert("RGB").quantize(256), "PNG"),
    "16 bit": (Image.fromarray(SCENE.astype(np.uint16) * 256), "PNG"),
    "16 bit TIFF": (Image.fromarray(SCENE.astype(np.uint16) * 256), "TIFF"),
    "CMYK JPEG": (Image.fromarray(SCENE).convert("RGB").convert("CMYK"), "JPEG"),
    "CMYK TIFF": (Image.fromarray(SCENE).convert("RGB").convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("mode", MODES)
def test_decode_grey_converts_every_mode(mode):
    assert_close(decode_grey(encode(*MODES[mode]), MAX_PIXELS), SCENE, levels=8)


def test_decode_grey_scales_every_16_bit_level_without_clipping():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = decode_grey(encode(Image.fromarray(levels), "PNG"), MAX_PIXELS)
    np.testing.assert_array_equal(decoded, np.round(levels / 257).astype(np.uint8))


def test_decode_grey_reads_16_bit_big_endian():
    swapped = Image.frombytes("I;16B", (48, 32), (SCENE.astype(">u2") * 257).tobytes())
    assert_close(decode_grey(encode(swapped, "TIFF"), MAX_PIXELS), SCENE, levels=0)


def test_decode_grey_reads_16_bit_colour():
    pixels = np.repeat(SCENE.astype(">u2")[:, :, np.newaxis] * 257, 3, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = png_file(png_header(48, 32, bits=16, colour_type=2), (b"IDAT", zlib.compress(rows)))
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


def test_decode_grey_converts_1_bit_to_black_and_white():
    bits = Image.fromarray(SCENE > 125)
    expected = np.where(SCENE > 125, 255, 0).astype(np.uint8)
    assert_close(decode_grey(encode(bits, "PNG"), MAX_PIXELS), expected, levels=0)


def test_decode_grey_uses_luma_weights():
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    assert decode_grey(encode(red, "PNG"), MAX_PIXELS)[0, 0] == 76  # 0.299 * 255 (ITU-R BT.601)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour key", "16 bit key"])
def test_decode_grey_makes_transparent_pixels_white(kind):
    # Transparent but for the first pixel, which is black.
    if kind == "palette":
        image = Image.new("P", (16, 16), 0)
        image.putpalette(bytes(768))
        image.putpixel((0, 0), 1)
        data = encode(image, "PNG", transparency=0)
    elif kind == "colour key":
        image = Image.new("RGB", (16, 16), (1, 2, 3))
        image.putpixel((0, 0), (0, 0, 0))
        data = encode(image, "PNG", transparency=(1, 2, 3))
    elif kind == "16 bit key":
        pixels = (b"IDAT", zlib.compress(b"\0\0\0" + (b"\1\0" * 15) + (b"\0" + b"\1\0" * 16) * 15))
        data = png_file(png_header(16, 16, bits=16), (b"tRNS", b"\1\0"), pixels)
    else:
        image = Image.new(kind, (16, 16), (0,) * len(kind))
        image.putpixel((0, 0), (0,) * (len(kind) - 1) + (255,))
        data = encode(image, "PNG")
    decoded = decode_grey(data, MAX_PIXELS)
    assert decoded[0, 0] == 0
    assert decoded.ravel()[1:].min() == 255


def test_decode_grey_blends_half_transparent_pixels_with_white():
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    assert decode_grey(encode(half, "PNG"), MAX_PIXELS)[0, 0] == 127


def test_decode_grey_refuses_32_bit_floats_with_a_reason():
    data = encode(Image.fromarray(SCENE.astype(np.float32)), "TIFF")
    assert "32 bits" in assert_refused(ErrorCode.UNDECODABLE_IMAGE, data).detail
