"""HEIC and AVIF: modes, rotation, grids, sequences, and limits that apply before decoding."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from app.errors import ErrorCode
from app.vision.decode import decode_grey, heif
from tests.support.heif_files import (
    CODED_KINDS,
    Part,
    box,
    container,
    encode_item,
    extents,
    full_box,
    grid,
    heic,
    heic_10_bits,
    with_size,
)
from tests.support.image_files import MAX_PIXELS, assert_close, assert_refused, encode

# Large enough for the blocks of both codecs; smooth and asymmetric.
SCENE = np.add.outer(np.linspace(0, 150, 128), np.linspace(0, 100, 192)).astype(np.uint8)
PICTURE = Image.fromarray(SCENE).convert("RGB")
BOTH = pytest.mark.parametrize("image_format", ["HEIF", "AVIF"])


def with_alpha(alpha: np.ndarray) -> Image.Image:
    picture = PICTURE.copy()
    picture.putalpha(Image.fromarray(alpha))
    return picture


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_decode_grey_reads_heic(mode):
    assert_close(decode_grey(heic(PICTURE.convert(mode), quality=95), MAX_PIXELS), SCENE)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_decode_grey_reads_avif(mode):
    assert_close(decode_grey(encode(PICTURE.convert(mode), "AVIF", quality=95), MAX_PIXELS), SCENE)


def test_decode_grey_reads_10_bits():
    assert_close(decode_grey(heic_10_bits(SCENE), MAX_PIXELS), SCENE)


@pytest.mark.parametrize("bits", [10, 12])
def test_decode_grey_reads_avif_of_more_than_8_bits(bits):
    levels = np.repeat((SCENE.astype(np.uint16) << (bits - 8))[:, :, np.newaxis], 3, axis=2)
    options = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 95]
    is_written, data = cv2.imencode(".avif", levels, options)
    assert is_written
    assert_close(decode_grey(data.tobytes(), MAX_PIXELS), SCENE)


@BOTH
def test_decode_grey_makes_transparent_pixels_white(image_format):
    alpha = np.zeros_like(SCENE)
    alpha[:64] = 255
    picture = with_alpha(alpha)
    data = heic(picture, quality=95) if image_format == "HEIF" else encode(picture, "AVIF", quality=95)
    decoded = decode_grey(data, MAX_PIXELS)
    assert_close(decoded[:56], SCENE[:56])
    assert decoded[72:].min() > 250


@BOTH
def test_decode_grey_ignores_an_alpha_plane_of_zeros(image_format):
    picture = with_alpha(np.zeros_like(SCENE))
    data = heic(picture, quality=95) if image_format == "HEIF" else encode(picture, "AVIF", quality=95)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


@BOTH
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_decode_grey_applies_the_rotation_and_the_mirror_of_the_container(image_format, turns, axis):
    # irot turns anticlockwise; imir 0 mirrors top and bottom, 1 left and right. Source: ISO/IEC 23008-12, 6.5.
    part = encode_item(PICTURE, image_format)
    part.properties.append(box(b"irot", bytes([turns])))
    expected = np.rot90(SCENE, turns)
    if axis is not None:
        part.properties.append(box(b"imir", bytes([axis])))
        expected = np.flip(expected, axis)
    assert_close(decode_grey(container(image_format, [part]), MAX_PIXELS), expected)


@pytest.mark.parametrize("orientation", [3, 6])
def test_decode_grey_ignores_exif_beside_the_rotation_of_the_container(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = PICTURE.copy()
    data = heic(picture, quality=95)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)
    turned = heic(picture, quality=95, exif=exif.tobytes())  # the encoder writes EXIF and the same rotation
    upright = {3: SCENE[::-1, ::-1], 6: np.rot90(SCENE, -1)}[orientation]
    assert_close(decode_grey(turned, MAX_PIXELS), upright)


@BOTH
@pytest.mark.parametrize(("width", "height"), [(192, 128), (170, 110)])
def test_decode_grey_joins_the_tiles_of_a_grid(image_format, width, height):
    boxes = [(x, y, x + 96, y + 64) for y in (0, 64) for x in (0, 96)]
    tiles = [encode_item(PICTURE.crop(each), image_format) for each in boxes]
    data = container(image_format, [*tiles, grid(2, 2, width, height, [1, 2, 3, 4])], primary=5)
    assert_close(decode_grey(data, MAX_PIXELS), SCENE[:height, :width])


@BOTH
def test_decode_grey_returns_the_primary_picture_of_a_collection(image_format):
    parts = [encode_item(Image.new("RGB", (64, 64)), image_format), encode_item(PICTURE, image_format)]
    assert_close(decode_grey(container(image_format, parts, primary=2), MAX_PIXELS), SCENE)


@BOTH
def test_decode_grey_reads_files_of_the_generic_brand(image_format):
    brand = {"HEIF": b"heic", "AVIF": b"avif"}[image_format]
    data = container(image_format, [encode_item(PICTURE, image_format)], brands=[b"mif1", b"miaf", brand])
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


def test_decode_grey_returns_the_first_frame_of_an_avif_sequence():
    later = PICTURE.transpose(Image.Transpose.ROTATE_180)
    data = encode(PICTURE, "AVIF", quality=95, save_all=True, append_images=[later] * 3)
    assert data[8:12] == b"avis"
    assert_close(decode_grey(data, MAX_PIXELS), SCENE)


def test_decode_grey_names_the_missing_decoder(monkeypatch):
    monkeypatch.setattr(heif, "pi_heif", None)
    error = assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, heic(PICTURE))
    assert "HEIC" in error.detail
    assert "JPEG" in error.detail


@pytest.mark.parametrize("kind", [b"jpeg", b"vvc1", b"unci"])
def test_decode_grey_names_an_unknown_codec(kind):
    data = container("HEIF", [Part(kind, b"data", [extents(64, 64)])], brands=[b"heic", b"mif1"])
    assert kind.decode() in assert_refused(ErrorCode.UNSUPPORTED_IMAGE_FORMAT, data).detail


@BOTH
def test_decode_grey_refuses_truncated_files(image_format):
    data = container(image_format, [encode_item(PICTURE, image_format)])
    for length in (12, 40, len(data) // 2):
        assert_refused(ErrorCode.UNDECODABLE_IMAGE, data[:length])


def refused_within_10_mb(data: bytes, code: ErrorCode) -> None:
    tracemalloc.start()
    try:
        assert_refused(code, data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@BOTH
def test_decode_grey_refuses_too_many_pixels_before_decoding(image_format):
    part = encode_item(PICTURE, image_format)
    refused_within_10_mb(container(image_format, [with_size(part, 7000, 7000)]), ErrorCode.TOO_MANY_PIXELS)


@BOTH
def test_decode_grey_refuses_a_coded_picture_that_is_larger_than_the_container_says(image_format):
    part = encode_item(Image.new("RGB", (4000, 3000)), image_format)
    assert len(part.data) < 20_000
    refused_within_10_mb(container(image_format, [with_size(part, 64, 64)]), ErrorCode.UNDECODABLE_IMAGE)


@BOTH
def test_decode_grey_refuses_a_grid_that_decodes_more_than_its_size(image_format):
    tile = encode_item(Image.new("RGB", (1024, 1024)), image_format)
    data = container(image_format, [tile, grid(200, 200, 512, 512, [1] * 40_000)], primary=2)
    refused_within_10_mb(data, ErrorCode.UNDECODABLE_IMAGE)


@BOTH
@pytest.mark.parametrize("kind", [b"iovl", b"iden", b"grid"])
def test_decode_grey_refuses_derived_pictures_of_derived_pictures_without_end(image_format, kind):
    tile = encode_item(PICTURE, image_format)
    parts = [tile] + [Part(kind, bytes(12), [extents(192, 128)], [number] * 50) for number in range(1, 9)]
    refused_within_10_mb(container(image_format, parts, primary=9), ErrorCode.UNDECODABLE_IMAGE)
    loop = [tile, Part(kind, bytes(12), [extents(192, 128)], [2])]
    refused_within_10_mb(container(image_format, loop, primary=2), ErrorCode.UNDECODABLE_IMAGE)


@BOTH
def test_decode_grey_refuses_an_item_of_several_pictures(image_format):
    # Decoders keep each picture of the data, at its full size.
    part = encode_item(PICTURE, image_format)
    repeated = Part(part.kind, part.data * 4, part.properties)
    assert_refused(ErrorCode.UNDECODABLE_IMAGE, container(image_format, [repeated]))


@BOTH
def test_decode_grey_refuses_items_that_claim_more_data_than_the_file_has(image_format):
    part = encode_item(PICTURE, image_format)
    padding = Part(b"Exif", bytes(1_000_000), copies=30)
    refused_within_10_mb(container(image_format, [part, padding]), ErrorCode.UNDECODABLE_IMAGE)


@BOTH
def test_decode_grey_refuses_an_item_without_its_decoder_configuration(image_format):
    part = encode_item(PICTURE, image_format)
    part.properties = [extents(192, 128)]
    assert_refused(ErrorCode.UNDECODABLE_IMAGE, container(image_format, [part]))


def test_decode_grey_refuses_an_avif_sequence_without_a_still_picture():
    data = encode(PICTURE, "AVIF", save_all=True, append_images=[PICTURE])
    assert_refused(ErrorCode.UNDECODABLE_IMAGE, data.replace(b"meta", b"free"))


def test_alpha_plane_counts_as_a_coded_picture():
    picture, alpha = encode_item(PICTURE, "HEIF"), encode_item(Image.new("L", (4000, 3000)), "HEIF")
    alpha.properties.append(full_box(b"auxC", b"urn:mpeg:hevc:2015:auxid:1\0"))
    alpha.alpha_of = 1
    assert alpha.kind == CODED_KINDS["HEIF"]
    refused_within_10_mb(container("HEIF", [picture, alpha]), ErrorCode.UNDECODABLE_IMAGE)
