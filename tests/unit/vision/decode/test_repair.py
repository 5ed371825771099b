"""Files that decode although a part is missing, damaged or very large."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from app.domain import ImageWarning
from app.errors import ErrorCode
from app.vision.decode import decode_grey, decode_image
from tests.support.image_files import MAX_PIXELS, SCENE, assert_close, assert_refused, encode, png_file, png_header
from tests.support.images import ASTRONAUT

EOI = b"\xff\xd9"
TRUNCATED = (ImageWarning.TRUNCATED,)


def photograph() -> Image.Image:
    return Image.open(ASTRONAUT).convert("RGB").resize((320, 320))


JPEGS = {
    "colour": encode(photograph(), "JPEG"),
    "full chroma": encode(photograph(), "JPEG", subsampling=0),
    "grey": encode(photograph().convert("L"), "JPEG"),
    "progressive": encode(photograph(), "JPEG", progressive=True),
    "restarts": encode(photograph(), "JPEG", restart_marker_rows=2),
    "optimised": encode(photograph(), "JPEG", optimize=True, quality=95),
}


def scan_start(data: bytes) -> int:
    return data.index(b"\xff\xda")


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("ending", ["", "zeros", "end marker"])
@pytest.mark.parametrize("percent", [99.9, 99, 97, 95, 90, 85])
def test_decode_image_warns_of_a_jpeg_whose_end_is_missing(kind, ending, percent):
    data = JPEGS[kind]
    if kind == "progressive" and ending == "end marker":
        pytest.skip("nothing shows that the last scan of a progressive JPEG with an end marker is short")
    if percent > 99 and ending == "end marker":
        pytest.skip("nothing shows that a part of the last block is missing")
    start = scan_start(data)
    cut = data[: start + int((len(data) - start) * percent / 100)]
    cut = cut[:-1] if cut.endswith(b"\xff") else cut
    cut += {"": b"", "zeros": bytes(4096), "end marker": EOI}[ending]
    image = decode_image(cut, MAX_PIXELS)
    assert image.warnings == TRUNCATED
    whole = decode_grey(data, MAX_PIXELS)
    rows = int(320 * (percent - 10) / 100)
    if kind != "progressive":
        np.testing.assert_array_equal(image.grey[:rows], whole[:rows])
    else:
        assert np.abs(image.grey.astype(int) - whole).mean() < 12


@pytest.mark.parametrize("kind", JPEGS)
def test_decode_image_warns_of_a_jpeg_without_its_end_marker_only(kind):
    image = decode_image(JPEGS[kind].removesuffix(EOI), MAX_PIXELS)
    assert image.warnings == TRUNCATED
    np.testing.assert_array_equal(image.grey, decode_grey(JPEGS[kind], MAX_PIXELS))


@pytest.mark.parametrize("kind", JPEGS)
def test_decode_image_does_not_warn_of_complete_files(kind):
    for rest in (b"", bytes(100), b"\0\0\0\x18ftypmp42", JPEGS["grey"]):
        assert decode_image(JPEGS[kind] + rest, MAX_PIXELS).warnings == ()


@pytest.mark.parametrize("level", [127, 128, 129])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_decode_image_does_not_warn_of_a_picture_that_ends_in_middle_grey(level, options):
    pixels = np.asarray(photograph()).copy()
    pixels[100:] = level
    assert decode_image(encode(Image.fromarray(pixels), "JPEG", **options), MAX_PIXELS).warnings == ()
    assert decode_image(encode(Image.new("L", (64, 64), level), "JPEG", **options), MAX_PIXELS).warnings == ()


@pytest.mark.parametrize("percent", [5, 25, 50, 60])
def test_decode_image_refuses_a_jpeg_of_which_too_much_is_missing(percent):
    data = JPEGS["colour"]
    start = scan_start(data)
    cut = data[: start + (len(data) - start) * percent // 100]
    for ending in (b"", bytes(100), EOI):
        assert "missing" in assert_refused(ErrorCode.UNDECODABLE_IMAGE, cut + ending).detail


def test_decode_image_applies_the_orientation_of_a_truncated_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photograph().resize((320, 200)), "JPEG", exif=exif)
    assert decode_image(data[:-50], MAX_PIXELS).grey.shape == (320, 200)
    assert decode_image(data[:-50], MAX_PIXELS).warnings == TRUNCATED


def png(*before: bytes, after: tuple[bytes, ...] = ()) -> bytes:
    """Return the scene as a PNG with further chunks before and after its pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in SCENE)
    plain = png_file(png_header(48, 32), (b"IDAT", zlib.compress(rows)))
    pixels, end = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    return plain[:pixels] + b"".join(before) + plain[pixels:end] + b"".join(after) + plain[end:]


def chunk(kind: bytes, body: bytes, error: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ error)


LARGE = zlib.compress(b"metadata" * 500_000)
LARGE_CHUNKS = {
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
    "plain XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 3_000_000),
    "tEXt": chunk(b"tEXt", b"Comment\0" + b"x" * 3_000_000),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + LARGE),
}


@pytest.mark.parametrize("kind", LARGE_CHUNKS)
def test_decode_grey_reads_a_png_with_large_metadata(kind):
    large = LARGE_CHUNKS[kind]
    for data in (png(large), png(large, large), png(after=(large,))):
        assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=0)


ANCILLARY = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"eXIf", b"bKGD", b"sBIT")


@pytest.mark.parametrize("kind", [*ANCILLARY, b"prVt", b"tRNS", b"acTL"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_decode_grey_reads_a_png_with_a_wrong_checksum_of_an_ancillary_chunk(kind, position):
    if kind == b"tRNS" and position == "after":
        pytest.skip("this chunk must be before the pixels")
    damaged = chunk(kind, bytes(13), error=1)
    data = png(damaged) if position == "before" else png(after=(damaged,))
    assert_close(decode_grey(data, MAX_PIXELS), SCENE, levels=0)


def test_decode_grey_refuses_a_png_with_a_wrong_checksum_of_its_header():
    data = bytearray(png())
    data[29] ^= 1
    assert_refused(ErrorCode.UNDECODABLE_IMAGE, bytes(data))


def test_decode_grey_keeps_orientation_and_transparency_of_a_repaired_png():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(SCENE))
    data = encode(Image.fromarray(stored), "PNG", exif=exif)
    assert_close(decode_grey(data[:33] + LARGE_CHUNKS["iCCP"] + data[33:], MAX_PIXELS), SCENE, levels=0)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    data = encode(Image.fromarray(stored), "PNG", pnginfo=info)
    assert_close(decode_grey(data[:33] + LARGE_CHUNKS["zTXt"] + data[33:], MAX_PIXELS), SCENE, levels=0)
    key = png(chunk(b"tRNS", struct.pack(">H", int(SCENE[5, 5]))), LARGE_CHUNKS["zTXt"])
    assert decode_grey(key, MAX_PIXELS)[5, 5] == 255


def rle_bmp(pixels: np.ndarray, bits: int, absolute: bool = False) -> bytes:
    """Return a run-length coded BMP with a grey palette.

    Args:
        pixels: Palette indices (H, W).
        bits: 8 or 4.
        absolute: Write uncompressed runs instead of repeated pixels.
    """
    height, width = pixels.shape
    colours = 1 << bits
    data = b""
    for row in pixels[::-1]:
        for left in range(0, width, 32):
            run = row[left : left + 32].tolist()
            packed = bytes(run) if bits == 8 else bytes(a << 4 | b for a, b in zip(run[::2], run[1::2], strict=True))
            if absolute:
                data += bytes([0, len(run)]) + packed + bytes(len(packed) % 2)
            else:
                step = 1 if bits == 8 else 2
                data += b"".join(bytes([step, each]) for each in packed)
        data += b"\0\0"
    data += b"\0\1"
    levels = [index * 255 // (colours - 1) for index in range(colours)]
    palette = b"".join(bytes([level, level, level, 0]) for level in levels)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 1 if bits == 8 else 2, len(data), 0, 0, colours, 0)
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("side", [16, 96, 160, 1024])
def test_decode_grey_reads_run_length_bmp_of_any_size(side, bits, absolute):
    grey = np.asarray(photograph().convert("L").resize((side, side)))
    indices = grey >> 4 if bits == 4 else grey
    expected = indices * 17 if bits == 4 else grey
    assert_close(decode_grey(rle_bmp(indices, bits, absolute), MAX_PIXELS), expected, levels=1)


def test_decode_grey_reads_run_length_bmp_with_a_colour_palette():
    data = bytearray(rle_bmp(np.zeros((16, 16), np.uint8), 8))
    data[54:58] = bytes([0, 0, 255, 0])  # blue, green, red
    assert decode_grey(bytes(data), MAX_PIXELS)[0, 0] == 76


def test_decode_grey_refuses_a_large_run_length_bmp_before_decoding():
    data = bytearray(rle_bmp(np.zeros((16, 16), np.uint8), 8))
    data[18:26] = struct.pack("<ii", 7000, 7000)
    assert_refused(ErrorCode.TOO_MANY_PIXELS, bytes(data))
