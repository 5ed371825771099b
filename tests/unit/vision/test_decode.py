"""Bytes to the upright grey image: every format, mode and orientation; bombs; damage; threads."""

from __future__ import annotations

import io
import re
import struct
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode, FerError
from app.vision.decode import MAX_JPEG_SCANS, decode_grey

LIMIT = 40_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# Smooth, so that lossy formats keep it within a few levels; lopsided, so that a turned one shows.
SCENE = np.add.outer(np.linspace(0, 150, 32), np.linspace(0, 100, 48)).astype(np.uint8)


def file_of(image: Image.Image, image_format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of hand-made chunks; the end is added."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*chunks, (b"IEND", b""))
    )


def assert_close(decoded: np.ndarray, expected: np.ndarray, levels: int = 10) -> None:
    assert decoded.dtype == np.uint8
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected.astype(int)).max() <= levels


def fails_with(code: ErrorCode, data: bytes, max_pixels: int = LIMIT) -> FerError:
    with pytest.raises(FerError) as caught:
        decode_grey(data, max_pixels)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decode_grey_every_format_gives_the_picture(image_format, mode):
    assert_close(decode_grey(file_of(Image.fromarray(SCENE).convert(mode), image_format), LIMIT), SCENE)


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
def test_decode_grey_every_mode_gives_the_picture(mode):
    assert_close(decode_grey(file_of(*MODES[mode]), LIMIT), SCENE, levels=8)


def test_decode_grey_every_level_of_16_bits_is_scaled_and_none_is_clipped():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = decode_grey(file_of(Image.fromarray(levels), "PNG"), LIMIT)
    np.testing.assert_array_equal(decoded, np.round(levels / 257).astype(np.uint8))


def test_decode_grey_16_bit_big_endian_gives_the_picture():
    swapped = Image.frombytes("I;16B", (48, 32), (SCENE.astype(">u2") * 257).tobytes())
    assert_close(decode_grey(file_of(swapped, "TIFF"), LIMIT), SCENE, levels=0)


def test_decode_grey_16_bit_colour_gives_the_picture():
    pixels = np.repeat(SCENE.astype(">u2")[:, :, np.newaxis] * 257, 3, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = png_of((b"IHDR", struct.pack(">IIBBBBB", 48, 32, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)))
    assert_close(decode_grey(data, LIMIT), SCENE, levels=1)


def test_decode_grey_big_tiff_gives_the_picture():
    assert_close(decode_grey(file_of(Image.fromarray(SCENE), "TIFF", big_tiff=True), LIMIT), SCENE, levels=0)


def test_decode_grey_one_bit_becomes_black_and_white():
    bits = Image.fromarray(SCENE > 125)
    assert_close(decode_grey(file_of(bits, "PNG"), LIMIT), np.where(SCENE > 125, 255, 0).astype(np.uint8), 0)


def test_decode_grey_colour_uses_luma_weights():
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    assert decode_grey(file_of(red, "PNG"), LIMIT)[0, 0] == 76  # 0.299 * 255 (ITU-R 601)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour key", "16 bit key"])
def test_decode_grey_transparent_pixels_become_white(kind):
    if kind == "palette":
        data = file_of(Image.new("P", (16, 16), 0), "PNG", transparency=0)
    elif kind == "colour key":
        data = file_of(Image.new("RGB", (16, 16), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    elif kind == "16 bit key":
        header = struct.pack(">IIBBBBB", 16, 16, 16, 0, 0, 0, 0)
        data = png_of((b"IHDR", header), (b"tRNS", b"\0\0"), (b"IDAT", zlib.compress(bytes(33 * 16))))
    else:
        data = file_of(Image.new(kind, (16, 16), (0,) * len(kind)), "PNG")
    assert decode_grey(data, LIMIT).min() == 255


def test_decode_grey_half_transparent_pixels_are_blended_with_white():
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    assert decode_grey(file_of(half, "PNG"), LIMIT)[0, 0] == 127


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_decode_grey_exif_orientation_is_applied(image_format, orientation):
    # What is stored, for the upright scene to come out: the inverse of the EXIF 2.32 table.
    stored = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.T,
        6: np.rot90(SCENE),
        7: SCENE[::-1, ::-1].T,
        8: np.rot90(SCENE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(Image.fromarray(np.ascontiguousarray(stored)), image_format, exif=exif)
    assert_close(decode_grey(data, LIMIT), SCENE)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
def test_decode_grey_damaged_exif_leaves_the_picture_as_it_is_stored(image_format):
    exif = b"Exif\0\0no TIFF header"
    data = file_of(Image.fromarray(SCENE), image_format, exif=exif)
    assert b"no TIFF header" in data
    assert_close(decode_grey(data, LIMIT), SCENE)


def test_decode_grey_first_frame_of_an_animation():
    frames = [Image.fromarray(SCENE), Image.fromarray(255 - SCENE)]
    for image_format in ("GIF", "WEBP", "TIFF", "PNG"):
        data = file_of(frames[0], image_format, save_all=True, append_images=frames[1:])
        assert_close(decode_grey(data, LIMIT), SCENE)


def test_decode_grey_multi_picture_jpeg_of_a_phone_gives_its_first_picture():
    second = Image.fromarray(255 - SCENE)
    data = file_of(Image.fromarray(SCENE), "MPO", save_all=True, append_images=[second])
    assert_close(decode_grey(data, LIMIT), SCENE)


def test_decode_grey_no_bytes_is_empty():
    fails_with(ErrorCode.EMPTY_IMAGE, b"")


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7", b"\0" * 100, b"RIFF\0\0\0\0WAVE", b"<svg/>"])
def test_decode_grey_no_image_is_an_unsupported_format(data):
    fails_with(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, data)


@pytest.mark.parametrize("image_format", FORMATS)
def test_decode_grey_truncated_is_undecodable(image_format):
    data = file_of(Image.fromarray(SCENE), image_format)
    for length in (12, len(data) // 2, len(data) * 3 // 4):
        fails_with(ErrorCode.UNDECODABLE_IMAGE, data[:length])


@pytest.mark.parametrize("image_format", FORMATS)
def test_decode_grey_corrupt_bytes_never_raise_anything_else(image_format):
    data = file_of(Image.fromarray(SCENE), image_format)
    generator = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(4, len(data), size=4):
            damaged[place] = int(generator.integers(0, 256))
        with suppress(FerError):
            assert decode_grey(bytes(damaged), LIMIT).dtype == np.uint8


def test_decode_grey_32_bit_floats_are_refused_with_a_reason():
    data = file_of(Image.fromarray(SCENE.astype(np.float32)), "TIFF")
    assert "32 bits" in fails_with(ErrorCode.UNDECODABLE_IMAGE, data).detail


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "GIF", "WEBP"])
def test_decode_grey_bomb_is_refused_before_it_is_decoded(image_format):
    bomb = file_of(Image.new("L", (7000, 7000)), image_format)
    tracemalloc.start()
    started = time.perf_counter()
    error = fails_with(ErrorCode.TOO_MANY_PIXELS, bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "49000000" in error.detail
    assert "7000x7000" in error.detail
    assert peak_bytes < 10_000_000
    assert time.perf_counter() - started < 5  # a bound for "not decoded", far above what it takes


@pytest.mark.parametrize("side", [7000, 20000])  # above this service's bound; above Pillow's, which raises by itself
def test_decode_grey_bomb_without_pixels_is_refused_for_its_size(side):
    # There is nothing to decode: a decoder that tried would say "undecodable".
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    error = fails_with(ErrorCode.TOO_MANY_PIXELS, png_of((b"IHDR", header), (b"IDAT", b"")))
    assert "40000000" in error.detail


def scans_repeated(times: int) -> bytes:
    """A progressive JPEG whose last scan stands in it so many times more."""
    data = file_of(Image.fromarray(SCENE), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * times + data[end:]


def test_decode_grey_jpeg_of_endless_scans_is_refused():
    assert decode_grey(scans_repeated(10), LIMIT).shape == SCENE.shape
    assert "scans" in fails_with(ErrorCode.UNDECODABLE_IMAGE, scans_repeated(MAX_JPEG_SCANS)).detail


@pytest.mark.parametrize("parity", [0, 1])
def test_decode_grey_scans_are_counted_wherever_they_stand(parity):
    marker, filled = b"\xff\xda", b""
    for part in scans_repeated(MAX_JPEG_SCANS).split(marker):
        filled += part if not filled else marker + part
        filled += b"\xff" * (len(filled) % 2 != parity)  # any marker may have such bytes before it
    assert {place.start() % 2 for place in re.finditer(marker, filled)} == {parity}
    assert "scans" in fails_with(ErrorCode.UNDECODABLE_IMAGE, filled).detail


def test_decode_grey_scans_hidden_behind_a_reserved_marker_are_counted():
    # The decoder passes over a reserved marker alone; whoever skips the length behind it would miss what follows.
    data = scans_repeated(MAX_JPEG_SCANS)
    first = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    error = fails_with(ErrorCode.UNDECODABLE_IMAGE, data[:first] + b"\xff\x02\xff\xff" + data[first:])
    assert "scans" in error.detail


def test_decode_grey_scans_outside_the_first_picture_are_not_counted():
    # A thumbnail in the metadata, and a phone's video behind the picture.
    data = file_of(Image.fromarray(SCENE), "JPEG", comment=b"\xff\xda" * 200)
    data += b"\0\0" + b"\xff\xda\0\2" * 200
    assert_close(decode_grey(data, LIMIT), SCENE)


def test_decode_grey_tile_larger_than_the_limit_is_refused_before_it_is_decoded():
    # The picture is 100x100 in one tile of 24000x24000, which would take 576 MB.
    tile = zlib.compress(bytes(1000))
    tags = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 322: 24000, 323: 24000, 324: 134, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + tile
    assert "24000x24000" in fails_with(ErrorCode.TOO_MANY_PIXELS, data).detail


def test_decode_grey_too_small_is_refused():
    assert "7x64" in fails_with(ErrorCode.IMAGE_TOO_SMALL, file_of(Image.new("L", (7, 64)), "PNG")).detail
    assert decode_grey(file_of(Image.new("L", (8, 8)), "PNG"), LIMIT).shape == (8, 8)


def test_decode_grey_in_threads_gives_what_it_gives_alone():
    files = [file_of(Image.fromarray(np.roll(SCENE, shift)), name) for name in FORMATS for shift in range(8)]
    alone = [decode_grey(data, LIMIT) for data in files]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda data: decode_grey(data, LIMIT), files * 3))
    for decoded, expected in zip(together, alone * 3, strict=True):
        np.testing.assert_array_equal(decoded, expected)


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
def test_decode_grey_memory_is_bounded_by_format_and_mode(monkeypatch, mode, image_format, options, bytes_per_pixel):
    picture = Image.new(mode, (160, 160)) if mode != "RGBA" else Image.new(mode, (160, 160), (9, 9, 9, 100))
    data = file_of(picture, image_format, **options)
    monkeypatch.setattr("app.vision.decode.MAX_DECODE_BYTES", 160 * 160 * (bytes_per_pixel + 0.1))
    assert decode_grey(data, LIMIT).shape == (160, 160)
    monkeypatch.setattr("app.vision.decode.MAX_DECODE_BYTES", 160 * 160 * (bytes_per_pixel - 0.1))
    error = fails_with(ErrorCode.TOO_MANY_PIXELS, data)
    assert "25600 (160x160)" in error.detail
    assert image_format in error.detail


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}])
def test_decode_grey_webp_is_what_pillow_makes_of_it(options):
    colours = np.random.default_rng(5).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    data = file_of(Image.fromarray(colours).resize((280, 200)), "WEBP", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert np.abs(decode_grey(data, LIMIT).astype(int) - expected).max() <= 1


def test_decode_grey_large_picture_is_copied_once_and_right_to_its_last_row():
    picture = np.random.default_rng(0).integers(0, 256, (2_501, 3_003), np.uint8)  # neither side fits the strips
    data = file_of(Image.fromarray(picture), "PNG", compress_level=0)
    decode_grey(data, LIMIT)
    tracemalloc.start()
    try:
        decoded = decode_grey(data, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(decoded, picture)
    assert peak < 1.5 * picture.nbytes  # numpy alone has two copies made


def _in_pieces(kind: str) -> bytes:
    """10 MB of what a header may be made of, before a picture or without one."""
    count = 2_000_000
    picture = file_of(Image.new("L", (64, 64), 128), "JPEG")
    return {
        "JPEG segments": picture[:2] + b"\xff\xe1\x00\x02" * count + picture[2:],
        "JPEG comments": picture[:2] + b"\xff\xfe\x00\x02" * count + picture[2:],
        "JPEG fill": picture[:2] + b"\xff" * 8_000_000 + picture[2:],
        "PNG chunks": png_of((b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)))
        + struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt")) * (count // 3),
        "GIF comment": b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b"!\xfe" + b"\x01a" * count + b"\0",
    }[kind]


@pytest.mark.parametrize("kind", ["JPEG segments", "JPEG comments", "JPEG fill", "PNG chunks", "GIF comment"])
def test_decode_grey_header_in_endless_pieces_is_refused_soon(kind):
    data = _in_pieces(kind)
    tracemalloc.start()
    try:
        fails_with(ErrorCode.UNDECODABLE_IMAGE, data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 20_000_000  # Pillow's reader has a copy of its own
    finally:
        tracemalloc.stop()


def test_decode_grey_png_of_small_chunks_is_read():
    """As some encoders write them: 512 bytes in each."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise), 0)
    chunks = [(b"IDAT", packed[at : at + 512]) for at in range(0, len(packed), 512)]
    header = (b"IHDR", struct.pack(">IIBBBBB", 1500, 1500, 8, 0, 0, 0, 0))
    np.testing.assert_array_equal(decode_grey(png_of(header, *chunks, (b"IEND", b"")), LIMIT), noise)
