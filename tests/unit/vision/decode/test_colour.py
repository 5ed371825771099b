"""Decoding to a reduced colour image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.vision.decode import decode_colour, decode_image
from tests.support.image_files import MAX_PIXELS, encode

# Red on the left, blue on the right.
SCENE = np.zeros((96, 160, 3), np.uint8)
SCENE[:, :80, 0], SCENE[:, 80:, 2] = 230, 230
RED, BLUE = (230, 0, 0), (0, 0, 230)


def decode(data: bytes, min_pixels: int = 160 * 96):
    return decode_colour(data, decode_image(data, MAX_PIXELS).grey, min_pixels, MAX_PIXELS)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize(("min_pixels", "shape"), [(160 * 96, (96, 160)), (80 * 48, (48, 80)), (10**9, (96, 160))])
def test_colour_keeps_the_colours_and_at_least_the_wanted_pixels(image_format, min_pixels, shape):
    colour = decode(encode(Image.fromarray(SCENE), image_format), min_pixels)
    assert (colour.dtype, colour.shape) == (np.uint8, (*shape, 3))
    for place, expected in ((5, RED), (-5, BLUE)):
        assert np.abs(colour[10, place].astype(int) - expected).max() < 40


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK"])
def test_colour_of_other_colour_modes(mode):
    colour = decode(encode(Image.fromarray(SCENE).convert(mode), "TIFF"))
    assert np.abs(colour[10, 5].astype(int) - RED).max() < 40


def test_transparent_pixels_are_white():
    colour = decode(encode(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), "PNG"), 32 * 32)
    assert (colour.shape, colour.min()) == ((32, 32, 3), 255)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_an_image_without_colour_has_none(mode):
    assert decode(encode(Image.new(mode, (64, 64)), "PNG")) is None


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_colour_is_upright_like_the_grey_image(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(SCENE), "JPEG", exif=exif, quality=95)
    grey = decode_image(data, MAX_PIXELS).grey
    colour = decode_colour(data, grey, 160 * 96, MAX_PIXELS)
    assert colour.shape[:2] == grey.shape
    assert np.abs(np.asarray(Image.fromarray(colour).convert("L")).astype(int) - grey).max() < 12


def test_a_file_that_cannot_be_decoded_again_has_no_colour():
    grey = np.zeros((96, 160), np.uint8)
    data = encode(Image.fromarray(SCENE), "JPEG")
    assert decode_colour(data[: len(data) // 2], grey, 160 * 96, MAX_PIXELS) is None
    assert decode_colour(b"no image", grey, 160 * 96, MAX_PIXELS) is None
    assert decode_colour(data, grey[:50], 160 * 96, MAX_PIXELS) is None  # of another shape
    assert decode_colour(data, grey, 160 * 96, max_pixels=100) is None


def test_a_jpeg_may_have_more_pixels_than_the_limit_because_it_is_decoded_reduced():
    data = encode(Image.fromarray(SCENE), "JPEG")
    colour = decode_colour(data, np.zeros((48, 80), np.uint8), 80 * 48, max_pixels=100 * 60)
    assert colour.shape == (48, 80, 3)
