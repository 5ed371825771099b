"""Bad AVIF, HEIC, TIFF, PNG and BMP files: bombs in every kind of picture, and structures without end."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from stress.bad_images import png
from stress.case import OK, Case
from stress.client import post
from tests.support.heif_files import (
    Part,
    box,
    container,
    encode_item,
    extents,
    grid,
    heic,
    heic_10_bits,
    with_size,
)
from tests.support.images import ASTRONAUT
from tests.support.tiff_files import picture

_DAMAGED, _LARGE = "undecodable_image", "too_many_pixels"
_TILE_PX = 512


def container_cases() -> Iterator[Case]:
    """Yield requests whose body is a bad file of these formats."""
    for image_format in ("HEIF", "AVIF"):
        yield from _structure_cases(image_format)
    yield from _heic_bombs()
    yield from _avif_bombs()
    yield from _other_bombs()


def _structure_cases(image_format: str) -> Iterator[Case]:
    small = encode_item(Image.new("RGB", (192, 128)), image_format)
    large = encode_item(Image.new("RGB", (4000, 4000)), image_format)
    tile = encode_item(Image.new("RGB", (_TILE_PX, _TILE_PX)), image_format)
    endless = [Part(b"iovl", bytes(12), [extents(192, 128)], [number] * 200) for number in range(1, 9)]
    for name, parts, results in (
        ("of 40,000 x 40,000", [with_size(small, 40_000, 40_000)], (_LARGE,)),
        ("of 2^32 x 2^32", [with_size(small, 2**32 - 1, 2**32 - 1)], (_LARGE,)),
        ("of 1 x 1", [with_size(small, 1, 1)], ("image_too_small", _DAMAGED)),
        ("of 64 x 64 with 4,000 x 4,000 coded pixels", [with_size(large, 64, 64)], (_DAMAGED,)),
        ("with a grid of 256 x 256 tiles", [grid(256, 256, 64, 64, [2] * 65_535), tile], (_DAMAGED,)),
        ("with overlays of overlays", [*reversed(endless), small], (_DAMAGED,)),
        ("with an overlay of itself", [Part(b"iovl", bytes(12), [extents(192, 128)], [1])], (_DAMAGED,)),
        ("with 8 pictures in an item", [Part(large.kind, large.data * 8, large.properties)], (_DAMAGED,)),
        ("with 500 times the same 1 MB", [small, Part(b"Exif", bytes(10**6), copies=500)], (_DAMAGED,)),
        ("of 1,000,000 boxes", [small, Part(b"Exif", box(b"free", b"") * 10**6)], (OK, _DAMAGED)),
    ):
        yield Case(f"{image_format} {name}", post("/predict", container(image_format, parts)), results)
    boxes = container(image_format, [small])[:28] + box(b"free", b"") * 1_000_000
    yield Case(f"{image_format} of boxes only", post("/predict", boxes), (_DAMAGED, "unsupported_image_format"))


def _heic_bombs() -> Iterator[Case]:
    """Yield HEIC files near the limit of their kind, and above it."""
    for name, mode, options, side in (
        ("grey", "L", {}, 6_300),
        ("half chroma", "RGB", {}, 4_660),
        ("full chroma", "RGB", {"chroma": 444}, 3_970),
        ("alpha", "RGBA", {}, 3_620),
    ):
        for factor, results in ((1.0, (OK,)), (1.05, (_LARGE,))):
            data = heic(Image.new(mode, (int(side * factor),) * 2, _colour(mode)), **options)
            yield Case(f"HEIC bomb, {name}, {int(side * factor)} px", post("/predict", data), results)
    data = heic_10_bits(np.full((3_800, 3_800), 90, np.uint8))
    yield Case("HEIC bomb, 10 bits", post("/predict", data), (OK,))
    turned = encode_item(Image.new("RGB", (4_600, 4_600)), "HEIF")
    turned.properties.append(box(b"irot", b"\1"))
    yield Case("HEIC bomb, rotated", post("/predict", container("HEIF", [turned])), (OK,))
    tile = encode_item(Image.new("RGB", (_TILE_PX, _TILE_PX)), "HEIF")
    whole = grid(12, 9, 5_712, 4_284, range(2, 110))  # a telephone's 24 megapixels
    yield Case("HEIC of 24 megapixels in tiles", post("/predict", container("HEIF", [whole, *[tile] * 108])), (OK,))


def _avif_bombs() -> Iterator[Case]:
    for mode, options, side, results in (
        ("RGB", {}, 3_960, (OK,)),
        ("RGB", {}, 4_100, (_LARGE,)),
        ("RGB", {"subsampling": "4:4:4"}, 3_680, (OK,)),
        ("RGB", {"subsampling": "4:4:4"}, 3_900, (_LARGE,)),
        ("RGBA", {}, 3_500, (OK,)),
        ("L", {}, 6_200, (OK,)),
    ):
        image = Image.new(mode, (side, side), _colour(mode))
        data = _encode(image, "AVIF", speed=10, **options)
        yield Case(f"AVIF bomb, {mode}, {side} px", post("/predict", data), results)
    frame = Image.new("RGB", (3_000, 3_000))
    data = _encode(frame, "AVIF", speed=10, save_all=True, append_images=[frame] * 3)
    yield Case("AVIF sequence", post("/predict", data), (OK,))


def _other_bombs() -> Iterator[Case]:
    either = (OK, _LARGE)
    for channels, side in ((1, 4_000), (3, 2_900)):
        samples = np.full((side, side, channels), 900, np.int32)
        samples[: side // 2] = 1_800
        photometric = 2 if channels == 3 else 1
        layouts: tuple[tuple[str, dict[str, Any]], ...] = (
            ("in pixels", {"bits": 16}),
            ("in planes", {"bits": 16, "planar": True}),
            ("12 bits", {"bits": 12}),
        )
        for name, options in layouts:
            data = picture(samples, photometric=photometric, compressed=True, **options)
            yield Case(f"TIFF bomb, {channels} channels, {name}", post("/predict", data), either)
    rows = (b"\0" + bytes([3, 3] * 3) * 3_000) * 1_500 + (b"\0" + bytes([6, 6] * 3) * 3_000) * 1_500
    yield Case("PNG bomb, 16-bit colours of a narrow range", post("/predict", png(3_000, 3_000, 16, 2, rows)), (OK,))
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    data = png(64, 64, whole=True, before=(b"zTXt", text))
    yield Case("PNG with a text of 200 MB", post("/predict", data), (OK,))
    bottom = Image.new("L", (6_300, 6_300), 128)
    yield Case("JPEG of middle grey", post("/predict", _encode(bottom, "JPEG")), (OK,))
    yield Case("JPEG without end", post("/predict", _encode(bottom, "JPEG")[:-2]), (_DAMAGED,))
    photo = ASTRONAUT.read_bytes()
    yield Case("JPEG with its last percent missing", post("/predict", photo[: len(photo) * 99 // 100]), (OK,))


def _colour(mode: str) -> int | tuple[int, ...]:
    return (9, 9, 9, 100) if mode == "RGBA" else 0


def _encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()
