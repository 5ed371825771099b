"""Reduced decoding of large JPEGs: the choice of the reduction, sizes, limits and pixels."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from app.domain import ImageWarning
from app.errors import ErrorCode, FerError
from app.vision.decode import decode_image, reduction
from app.vision.decode.limits import check_limits
from tests.support.image_files import MAX_PIXELS, encode, lossless_jpeg
from tests.support.jpeg_files import flat_jpeg, resized_jpeg
from tests.support.portrait import load_portrait

MODES = {
    "grey": ("L", {}),
    "4:2:0": ("RGB", {"subsampling": 2}),
    "4:2:2": ("RGB", {"subsampling": 1}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "CMYK": ("CMYK", {}),
    "progressive CMYK": ("CMYK", {"progressive": True}),
}


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (640, 480, 1),
        (3264, 2448, 1),
        (4000, 3000, 2),
        (3024, 4032, 2),
        (6000, 4000, 2),
        (8064, 6048, 4),
        (8160, 6144, 4),
        (12000, 9000, 4),
        (16320, 12240, 8),
        (20000, 1000, 2),
        (65535, 65535, 8),
        (65535, 64, 1),
    ],
)
def test_for_detection_keeps_the_pixels_that_detection_needs(width, height, expected):
    chosen = reduction.for_detection(width, height)
    assert chosen == expected
    if chosen > 1:
        assert (width * height) ** 0.5 / chosen >= reduction.DETECTION_SIDE_PX


@pytest.mark.parametrize(("side", "expected"), [(1, 1), (95, 1), (96, 2), (191, 2), (192, 4), (384, 8), (9999, 8)])
def test_for_crop_keeps_48_pixels_of_a_face(side, expected):
    assert reduction.for_crop(side) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_decode_image_reduced_is_nearly_the_average_of_the_pixels(mode, factor):
    colour, options = MODES[mode]
    portrait = cv2.resize(load_portrait(), (509, 500))  # no multiples of 8
    data = encode(Image.fromarray(portrait).convert(colour), "JPEG", quality=95, **options)
    full = decode_image(data, MAX_PIXELS)
    reduced = decode_image(data, MAX_PIXELS, reduction.fixed(factor))
    assert (full.reduction, reduced.reduction) == (1, factor)
    assert (reduced.width_px, reduced.height_px) == (full.width_px, full.height_px) == (509, 500)
    assert reduced.grey.shape == (-(-500 // factor), -(-509 // factor))
    rows, columns = 500 // factor, 509 // factor
    averaged = full.grey[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean((1, 3))
    assert np.abs(reduced.grey[:rows, :columns] - averaged).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_image_reduced_has_the_size_of_the_upright_image(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.new("L", (301, 203)), "JPEG", exif=exif)
    image = decode_image(data, MAX_PIXELS, reduction.fixed(4))
    upright = (301, 203) if orientation < 5 else (203, 301)
    assert (image.width_px, image.height_px) == upright
    assert image.grey.shape == (-(-upright[1] // 4), -(-upright[0] // 4))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_decode_image_reduces_jpegs_only(image_format):
    image = decode_image(encode(Image.new("L", (96, 64)), image_format), MAX_PIXELS, reduction.fixed(8))
    assert (image.grey.shape, image.reduction) == ((64, 96), 1)


def test_pixel_limit_of_a_jpeg_counts_what_is_decoded():
    data = encode(Image.new("L", (160, 120)), "JPEG")
    assert decode_image(data, 40 * 30, reduction.fixed(4)).grey.shape == (30, 40)
    with pytest.raises(FerError, match="at most 19184 pixels") as refused:
        decode_image(data, 40 * 30 - 1, reduction.fixed(4))
    assert refused.value.code is ErrorCode.TOO_MANY_PIXELS


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(("width", "height"), [(8064, 6048), (16320, 12240), (20000, 1000)])
def test_jpeg_of_any_common_size_is_decoded_at_detection_size(mode, width, height):
    image = decode_image(flat_jpeg(mode, width, height), MAX_PIXELS, reduction.for_detection)
    assert (image.width_px, image.height_px) == (width, height)
    assert image.grey.size < 4 * reduction.DETECTION_SIDE_PX**2
    assert image.grey.min() == image.grey.max()


def check(data: bytes) -> int:
    return check_limits(JpegImageFile(io.BytesIO(data)), data, MAX_PIXELS, reduction.for_detection)


@pytest.mark.parametrize(
    ("kind", "options", "largest", "smallest_refused"),
    [
        ("RGB", {"progressive": True}, (8064, 6048), (8160, 6144)),
        ("RGB", {"progressive": True, "subsampling": 0}, (6000, 3990), (6000, 4100)),
        ("L", {"progressive": True}, (9600, 7500), (9600, 7700)),
        ("CMYK", {"progressive": True}, (4700, 3500), (4700, 3600)),
        ("CMYK", {}, (32000, 32000), (35000, 35000)),
        ("L", {}, (50500, 50500), (50700, 50700)),
    ],
)
def test_memory_of_every_kind_of_jpeg_is_bounded(kind, options, largest, smallest_refused):
    data = encode(Image.new(kind, (64, 64)), "JPEG", **options)
    assert check(resized_jpeg(data, *largest)) > 1
    with pytest.raises(FerError, match="pixels are accepted") as refused:
        check(resized_jpeg(data, *smallest_refused))
    assert refused.value.code is ErrorCode.TOO_MANY_PIXELS


def test_first_scan_without_all_components_counts_as_progressive():
    # Cut after the first scan of a file with one scan for each component: a count of scans would see one scan only.
    data = flat_jpeg("RGB", 64, 64)
    scan = data.index(b"\xff\xda")
    first_component = data[scan + 5 : scan + 7]
    cut = data[:scan] + b"\xff\xda\0\x08\x01" + first_component + b"\0\x3f\0" + bytes(16) + b"\xff\xd9"
    assert decode_image(cut, MAX_PIXELS).grey.shape == (64, 64)
    with pytest.raises(FerError, match="progressive JPEG"):
        check(resized_jpeg(cut, 16320, 12240))


def test_lossless_jpeg_is_decoded_in_full():
    pixels = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    image = decode_image(lossless_jpeg(pixels), MAX_PIXELS, reduction.fixed(8))
    assert image.reduction == 1
    np.testing.assert_array_equal(image.grey, pixels)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_complete_reduced_jpeg_that_ends_with_the_middle_grey_is_not_truncated(factor):
    scene = np.full((301, 403), 128, np.uint8)
    scene[:100] = np.random.default_rng(0).integers(0, 256, (100, 403))
    image = decode_image(encode(Image.fromarray(scene), "JPEG"), MAX_PIXELS, reduction.fixed(factor))
    assert image.warnings == ()


def test_reduced_jpeg_without_its_end_is_truncated():
    scene = np.random.default_rng(0).integers(0, 256, (301, 403), dtype=np.uint8)
    data = encode(Image.fromarray(scene), "JPEG")
    image = decode_image(data[: round(len(data) * 0.95)] + b"\xff\xd9", MAX_PIXELS, reduction.fixed(2))
    assert image.warnings == (ImageWarning.TRUNCATED,)
