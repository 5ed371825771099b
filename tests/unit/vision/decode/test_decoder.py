"""`decode_grey`: formats, frames, damaged files and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode, FerError
from app.vision.decode import decode_grey
from tests.support.image_files import FORMATS, MAX_PIXELS, SCENE, assert_close, assert_refused, encode


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decode_grey_reads_every_format(image_format, mode):
    assert_close(decode_grey(encode(Image.fromarray(SCENE).convert(mode), image_format), MAX_PIXELS), SCENE)


def test_decode_grey_reads_big_tiff():
    assert_close(decode_grey(encode(Image.fromarray(SCENE), "TIFF", big_tiff=True), MAX_PIXELS), SCENE, levels=0)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_decode_grey_returns_the_first_frame_of_an_animation(image_format):
    frames = [Image.fromarray(SCENE), Image.fromarray(255 - SCENE)]
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


def test_decode_grey_returns_the_first_image_of_a_multi_picture_jpeg():
    second = Image.fromarray(255 - SCENE)
    data = encode(Image.fromarray(SCENE), "MPO", save_all=True, append_images=[second])
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


def test_decode_grey_refuses_an_empty_file():
    assert_refused(ErrorCode.EMPTY_IMAGE, b"")


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7", b"\0" * 100, b"RIFF\0\0\0\0WAVE", b"<svg/>"])
def test_decode_grey_refuses_unknown_signatures(data):
    assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, data)


@pytest.mark.parametrize("image_format", FORMATS)
def test_decode_grey_refuses_truncated_files(image_format):
    data = encode(Image.fromarray(SCENE), image_format)
    for length in (12, len(data) // 2, len(data) * 3 // 4):
        assert_refused(ErrorCode.UNDECODABLE_IMAGE, data[:length])


@pytest.mark.parametrize("image_format", FORMATS)
def test_decode_grey_raises_only_fer_error_for_corrupt_files(image_format):
    data = encode(Image.fromarray(SCENE), image_format)
    generator = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(4, len(data), size=4):
            damaged[place] = int(generator.integers(0, 256))
        with suppress(FerError):
            assert decode_grey(bytes(damaged), MAX_PIXELS).dtype == np.uint8


def test_decode_grey_returns_the_same_pixels_from_many_threads():
    files = [encode(Image.fromarray(np.roll(SCENE, shift)), name) for name in FORMATS for shift in range(8)]
    sequential = [decode_grey(data, MAX_PIXELS) for data in files]
    with ThreadPoolExecutor(8) as threads:
        parallel = list(threads.map(lambda data: decode_grey(data, MAX_PIXELS), files * 3))
    for decoded, expected in zip(parallel, sequential * 3, strict=True):
        np.testing.assert_array_equal(decoded, expected)
