"""Decoding of pixels: the WebP decoder and the copy to an array."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from app.vision.decode import decode_grey
from tests.support.image_files import MAX_PIXELS, encode


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}])
def test_decode_grey_decodes_webp_as_pillow_does(options):
    colours = np.random.default_rng(5).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    data = encode(Image.fromarray(colours).resize((280, 200)), "WEBP", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert np.abs(decode_grey(data, MAX_PIXELS).astype(int) - expected).max() <= 1


def test_decode_grey_copies_a_large_image_once_and_completely():
    pixels = np.random.default_rng(0).integers(0, 256, (2_501, 3_003), np.uint8)  # no multiple of the strip height
    data = encode(Image.fromarray(pixels), "PNG", compress_level=0)
    decode_grey(data, MAX_PIXELS)
    tracemalloc.start()
    try:
        decoded = decode_grey(data, MAX_PIXELS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(decoded, pixels)
    assert peak_bytes < 1.5 * pixels.nbytes  # numpy alone makes two copies
