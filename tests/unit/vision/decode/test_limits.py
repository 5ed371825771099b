"""Limits on pixels, memory, JPEG scans, tiles and reads of the header."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode
from app.vision.decode import decode_grey
from app.vision.decode.limits import MAX_JPEG_SCANS
from tests.support.image_files import (
    MAX_PIXELS,
    SCENE,
    assert_close,
    assert_refused,
    encode,
    png_file,
    png_header,
)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "GIF", "WEBP"])
def test_decode_grey_refuses_a_decompression_bomb_before_decoding(image_format):
    bomb = encode(Image.new("L", (7000, 7000)), image_format, method=0)  # of WebP: faster
    tracemalloc.start()
    error = assert_refused(ErrorCode.TOO_MANY_PIXELS, bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "49000000" in error.detail
    assert "7000x7000" in error.detail
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "GIF"])  # WebP has its size in the first part of the pixels
def test_decode_grey_refuses_the_beginning_of_a_decompression_bomb(image_format):
    """The pixels are missing, so the size comes from the header."""
    beginning = encode(Image.new("L", (7000, 7000)), image_format)[:1000]
    assert "7000x7000" in assert_refused(ErrorCode.TOO_MANY_PIXELS, beginning).detail


@pytest.mark.parametrize("side", [7000, 20000])  # above the service's limit; above Pillow's limit, which raises first
def test_decode_grey_refuses_a_decompression_bomb_without_pixels_for_its_size(side):
    # A decoder that tried to decode the missing pixels would raise `undecodable_image`.
    error = assert_refused(ErrorCode.TOO_MANY_PIXELS, png_file(png_header(side, side), (b"IDAT", b"")))
    assert "40000000" in error.detail


def test_decode_grey_refuses_an_image_below_the_smallest_side():
    assert "7x64" in assert_refused(ErrorCode.IMAGE_TOO_SMALL, encode(Image.new("L", (7, 64)), "PNG")).detail
    assert decode_grey(encode(Image.new("L", (8, 8)), "PNG"), MAX_PIXELS).shape == (8, 8)


def jpeg_with_extra_scans(count: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan `count` times."""
    data = encode(Image.fromarray(SCENE), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * count + data[end:]


def test_decode_grey_refuses_a_jpeg_with_too_many_scans():
    assert decode_grey(jpeg_with_extra_scans(10), MAX_PIXELS).shape == SCENE.shape
    error = assert_refused(ErrorCode.UNDECODABLE_IMAGE, jpeg_with_extra_scans(MAX_JPEG_SCANS))
    assert "scans" in error.detail


@pytest.mark.parametrize("parity", [0, 1])
def test_decode_grey_counts_scans_at_even_and_odd_positions(parity):
    marker, padded = b"\xff\xda", b""
    for part in jpeg_with_extra_scans(MAX_JPEG_SCANS).split(marker):
        padded += part if not padded else marker + part
        padded += b"\xff" * (len(padded) % 2 != parity)  # a marker may follow any number of fill bytes
    assert {place.start() % 2 for place in re.finditer(marker, padded)} == {parity}
    assert "scans" in assert_refused(ErrorCode.UNDECODABLE_IMAGE, padded).detail


def test_decode_grey_counts_scans_behind_a_reserved_marker():
    # The decoder skips a reserved marker without a length. A count that skipped a length would miss the scans after it.
    data = jpeg_with_extra_scans(MAX_JPEG_SCANS)
    first = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    with_reserved_marker = data[:first] + b"\xff\x02\xff\xff" + data[first:]
    assert "scans" in assert_refused(ErrorCode.UNDECODABLE_IMAGE, with_reserved_marker).detail


def test_decode_grey_does_not_count_scans_outside_the_first_image():
    # In the metadata, like a thumbnail, and after the image, like a phone's video.
    data = encode(Image.fromarray(SCENE), "JPEG", comment=b"\xff\xda" * 200)
    data += b"\0\0" + b"\xff\xda\0\2" * 200
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


def test_decode_grey_refuses_a_tile_above_the_pixel_limit_before_decoding():
    # An image of 100x100 in one tile of 24000x24000, which decodes to 576 MB.
    tile = zlib.compress(bytes(1000))
    tags = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 322: 24000, 323: 24000, 324: 134, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + tile
    assert "24000x24000" in assert_refused(ErrorCode.TOO_MANY_PIXELS, data).detail


@pytest.mark.parametrize(
    ("mode", "image_format", "options", "bytes_per_pixel"),
    [
        ("L", "JPEG", {}, 3.0),
        ("RGB", "JPEG", {}, 3.0),
        ("RGB", "JPEG", {"progressive": True}, 4.0),
        ("RGB", "JPEG", {"progressive": True, "subsampling": 0}, 7.0),
        ("CMYK", "JPEG", {}, 8.9),
        ("CMYK", "JPEG", {"progressive": True}, 12.0),
        ("L", "PNG", {}, 3.0),
        ("L", "PNG", {"transparency": 3}, 10.8),
        ("LA", "PNG", {}, 10.8),
        ("P", "PNG", {}, 6.0),
        ("RGB", "PNG", {}, 6.9),
        ("RGB", "WEBP", {}, 4.2),
        ("RGBA", "WEBP", {}, 15.8),
        ("RGB", "BMP", {}, 6.9),
        ("CMYK", "TIFF", {}, 8.9),
    ],
)
def test_decode_grey_limits_memory_by_format_and_mode(monkeypatch, mode, image_format, options, bytes_per_pixel):
    image = Image.new(mode, (160, 160)) if mode != "RGBA" else Image.new(mode, (160, 160), (9, 9, 9, 100))
    data = encode(image, image_format, **options)
    monkeypatch.setattr("app.vision.decode.limits.MAX_DECODE_BYTES", 160 * 160 * (bytes_per_pixel + 0.1))
    assert decode_grey(data, MAX_PIXELS).shape == (160, 160)
    monkeypatch.setattr("app.vision.decode.limits.MAX_DECODE_BYTES", 160 * 160 * (bytes_per_pixel - 0.1))
    error = assert_refused(ErrorCode.TOO_MANY_PIXELS, data)
    assert "25600 (160x160)" in error.detail
    assert image_format in error.detail


def fragmented_header(kind: str) -> bytes:
    """Return about 10 MB of tiny header parts, before an image or without one."""
    count = 2_000_000
    jpeg = encode(Image.new("L", (64, 64), 128), "JPEG")
    empty_chunk = struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt"))
    return {
        "JPEG segments": jpeg[:2] + b"\xff\xe1\x00\x02" * count + jpeg[2:],
        "JPEG comments": jpeg[:2] + b"\xff\xfe\x00\x02" * count + jpeg[2:],
        "JPEG fill": jpeg[:2] + b"\xff" * 8_000_000 + jpeg[2:],
        "PNG chunks": png_file(png_header(64, 64)) + empty_chunk * (count // 3),
        "GIF comment": b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b"!\xfe" + b"\x01a" * count + b"\0",
    }[kind]


@pytest.mark.parametrize("kind", ["JPEG segments", "JPEG comments", "JPEG fill", "PNG chunks", "GIF comment"])
def test_decode_grey_refuses_a_header_of_millions_of_parts(kind):
    data = fragmented_header(kind)
    tracemalloc.start()
    try:
        assert_refused(ErrorCode.UNDECODABLE_IMAGE, data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 20_000_000  # Pillow's reader has its own copy
    finally:
        tracemalloc.stop()


def test_decode_grey_reads_a_png_with_chunks_of_512_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise), 0)
    chunks = [(b"IDAT", packed[at : at + 512]) for at in range(0, len(packed), 512)]
    data = png_file(png_header(1500, 1500), *chunks, (b"IEND", b""))
    np.testing.assert_array_equal(decode_grey(data, MAX_PIXELS), noise)
