"""TIFF: bit depths, planes, signs, WhiteIsZero, alpha, thumbnails and camera raw."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode
from app.vision.decode import decode_grey
from tests.support.image_files import MAX_PIXELS, assert_close, assert_refused, encode
from tests.support.tiff_files import picture, tiff_file

# The full range, so that no level is scaled by the range that the picture uses. 45 pixels need a padded tile.
SCENE = np.add.outer(np.linspace(0, 155, 37), np.linspace(0, 100, 45)).astype(np.uint8)
ORDERS = pytest.mark.parametrize("order", ["<", ">"])
LAYOUTS = [
    {},
    {"compressed": True},
    {"rows_per_strip": 8},
    {"rows_per_strip": 8, "compressed": True},
    {"tile": 16},
    {"tile": 16, "compressed": True},
]


def wide(bits: int, channels: int = 1) -> np.ndarray:
    """Return the scene in levels of `bits` bits, (H, W, channels)."""
    levels = np.rint(SCENE.astype(np.float64) * ((1 << bits) - 1) / 255).astype(np.int64)
    return np.repeat(levels[:, :, np.newaxis], channels, axis=2)


@ORDERS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [*range(9, 17)])
def test_decode_grey_reads_9_to_16_bits(bits, layout, order):
    assert_close(decode_grey(picture(wide(bits), bits, 1, order=order, **layout), MAX_PIXELS), SCENE, levels=1)


@ORDERS
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_decode_grey_reads_samples_that_are_padded_to_16_bits(bits, order):
    for rows in (0, 8):
        data = picture(wide(bits), bits, 1, order=order, stored_bits=16, rows_per_strip=rows)
        assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@ORDERS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_decode_grey_reads_white_is_zero(bits, layout, order):
    data = picture((1 << bits) - 1 - wide(bits), bits, 0, order=order, **layout)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@ORDERS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_decode_grey_reads_signed_samples(bits, photometric, layout, order):
    levels = wide(bits) if photometric else (1 << bits) - 1 - wide(bits)
    signed = (levels - (1 << (bits - 1))) & ((1 << bits) - 1)
    data = picture(signed, bits, photometric, order=order, more={339: (2,)}, **layout)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@ORDERS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("bits", "planar"), list(itertools.product([8, 10, 12, 16], [False, True])))
def test_decode_grey_reads_colours_in_planes_and_in_pixels(bits, planar, layout, order):
    data = picture(wide(bits, 3), bits, 2, order=order, planar=planar, **layout)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@ORDERS
@pytest.mark.parametrize("planar", [False, True])
def test_decode_grey_weighs_the_colours(planar, order):
    colours = np.zeros((16, 16, 3), np.int64)
    colours[:, :, 0] = 65535
    colours[0, 0] = 65535
    colours[1, 1] = 0
    decoded = decode_grey(picture(colours, 16, 2, order=order, planar=planar), MAX_PIXELS)
    assert decoded[8, 8] == 76  # 0.299 * 255 (ITU-R BT.601)


@ORDERS
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("layout", [{}, {"tile": 16}, {"rows_per_strip": 8}])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_grey_adds_the_differences_of_a_predictor(channels, layout, planar, order):
    data = picture(
        wide(16, channels),
        16,
        2 if channels == 3 else 1,
        order=order,
        planar=planar,
        predictor=True,
        compressed=True,
        **layout,
    )
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
def test_decode_grey_reads_every_lossless_compression_of_16_bits(compression):
    data = encode(Image.fromarray(wide(16)[:, :, 0].astype(np.uint16)), "TIFF", compression=compression)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("extra", [1, 2])
def test_decode_grey_blends_16_bit_alpha_with_white(extra, planar):
    samples = wide(16, 4)
    samples[:, :, 3] = 65535
    samples[20:, :, 3] = 0
    if extra == 1:
        samples[20:] = 0
    data = picture(samples, 16, 2, planar=planar, more={338: (extra,)})
    expected = SCENE.copy()
    expected[20:] = 255
    assert_close(decode_grey(data, MAX_PIXELS), expected, levels=1)
    samples = wide(16, 4)
    samples[:, :, 3] = 0
    assert_close(decode_grey(picture(samples, 16, 2, planar=planar, more={338: (extra,)}), MAX_PIXELS), SCENE, levels=1)


def test_decode_grey_reads_planar_cmyk_of_16_bits():
    samples = np.zeros((*SCENE.shape, 4), np.int64)
    samples[:, :, 3] = 65535 - wide(16)[:, :, 0]
    for planar in (False, True):
        assert_close(decode_grey(picture(samples, 16, 5, planar=planar), MAX_PIXELS), SCENE, levels=1)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_decode_grey_applies_the_orientation_of_16_bits(orientation):
    stored = {3: SCENE[::-1, ::-1], 6: np.rot90(SCENE), 8: np.rot90(SCENE, -1)}[orientation]
    samples = stored.astype(np.int64)[:, :, np.newaxis] * 257
    assert_close(decode_grey(picture(samples, 16, 1, more={274: (orientation,)}), MAX_PIXELS), SCENE, levels=1)


def test_decode_grey_reads_the_bits_of_reversed_bytes():
    data = bytearray(picture(wide(16), 16, 1, more={266: (2,)}))
    strip = SCENE.size * 2
    data[8 : 8 + strip] = bytes(int(f"{each:08b}"[::-1], 2) for each in data[8 : 8 + strip])
    assert_close(decode_grey(bytes(data), MAX_PIXELS), SCENE, levels=1)


def directory(width: int, height: int, strip: int, more: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    tags = {256: (width,), 257: (height,), 258: (8,), 259: (1,), 262: (1,), 273: (strip,), 277: (1,), 278: (height,)}
    return tags | more


@ORDERS
def test_decode_grey_reads_the_full_picture_behind_a_thumbnail(order):
    height, width = SCENE.shape
    thumbnail = directory(16, 16, 0, {254: (1,)})
    data = tiff_file([thumbnail, directory(width, height, 1, {254: (0,)})], [bytes(256), SCENE.tobytes()], order)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=0)
    wide_picture = directory(width, height, 1, {258: (16,)})
    data = tiff_file([thumbnail, wide_picture], [bytes(256), (SCENE.astype(order + "u2") * 257).tobytes()], order)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


@ORDERS
@pytest.mark.parametrize("more", [{50706: (1,)}, {262: (32803,)}, {262: (34892,)}])
def test_decode_grey_refuses_camera_raw_by_name(more, order):
    height, width = SCENE.shape
    full = directory(width, height, 1, more)
    thumbnail = directory(16, 16, 0, {254: (1,)})
    chained = tiff_file([thumbnail, full], [bytes(256), SCENE.tobytes()], order)
    alone = tiff_file([full], [bytes(256), SCENE.tobytes()], order)
    for data in (chained, alone, nested(thumbnail, full, order)):
        assert "camera raw" in assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, data).detail


def nested(first: dict[int, tuple[int, ...]], second: dict[int, tuple[int, ...]], order: str) -> bytes:
    """Return a file whose second directory is a sub-directory of the first."""
    data = [bytes(256), SCENE.tobytes()]
    chain = tiff_file([first | {330: (0,)}, second], data, order)
    names = {"<": "little", ">": "big"}
    start = int.from_bytes(chain[4:8], names[order])
    count = int.from_bytes(chain[start : start + 2], names[order])
    link = start + 2 + 12 * count
    following = chain[link : link + 4]
    places = [start + 2 + 12 * index for index in range(count)]
    (place,) = [each for each in places if int.from_bytes(chain[each : each + 2], names[order]) == 330]
    return chain[: place + 8] + following + chain[place + 12 : link] + bytes(4) + chain[link + 4 :]


@ORDERS
def test_decode_grey_reads_the_full_picture_of_a_sub_directory(order):
    height, width = SCENE.shape
    data = nested(directory(16, 16, 0, {254: (1,)}), directory(width, height, 1, {}), order)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=0)


def test_decode_grey_keeps_the_first_picture_of_a_pyramid():
    height, width = SCENE.shape
    data = tiff_file(
        [directory(width, height, 1, {}), directory(16, 16, 0, {254: (1,)})], [bytes(256), SCENE.tobytes()]
    )
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=0)


def test_decode_grey_reads_16_bits_in_big_tiff():
    data = encode(Image.fromarray(wide(16)[:, :, 0].astype(np.uint16)), "TIFF", big_tiff=True)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=1)


def test_decode_grey_limits_the_pixels_and_the_memory_of_16_bit_tiff():
    def claims(side: int) -> bytes:
        tags = {256: (side,), 257: (side,), 258: (16,) * 3, 259: (8,), 262: (2,), 273: (0,), 277: (3,), 278: (side,)}
        return tiff_file([tags], [bytes(100)])

    assert "64000000" in assert_refused(ErrorCode.TOO_MANY_PIXELS, claims(8000)).detail
    assert "memory" in assert_refused(ErrorCode.TOO_MANY_PIXELS, claims(5000)).detail


def test_decode_grey_refuses_truncated_samples():
    data = picture(wide(16), 16, 1)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "I;16"
    end = SCENE.size * 2 + 8
    assert_refused(ErrorCode.UNDECODABLE_IMAGE, data[:4] + (8).to_bytes(4, "little") + data[end:])
