"""Mutated files and requests: valid ones with bytes that are flipped, cut, doubled, swapped or overwritten."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.heif_files import box, container, encode_item, grid, heic, heic_10_bits
from tests.support.tiff_files import picture

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# Extreme values for length and size fields.
_EXTREME_VALUES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
)


def sources() -> list[bytes]:
    """Return small valid files of every format, in several colour modes, compressions and with metadata."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    files = [_encode(colour, image_format) for image_format in FORMATS]
    files += [_encode(colour.convert("L"), image_format) for image_format in FORMATS]
    files += [_encode(colour.convert("RGBA"), image_format) for image_format in ("PNG", "WEBP", "TIFF")]
    files += [_encode(colour.convert("P"), image_format) for image_format in ("PNG", "GIF", "BMP", "TIFF")]
    files += [_encode(colour.convert("CMYK"), "JPEG"), _encode(colour, "JPEG", progressive=True)]
    files += [_encode(colour, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    exif = Image.Exif()
    exif[0x0112] = 6
    files += [_encode(colour, image_format, exif=exif) for image_format in ("JPEG", "PNG", "WEBP")]
    files += [_encode(colour, "AVIF"), _encode(colour.convert("RGBA"), "AVIF"), _encode(colour.convert("L"), "AVIF")]
    files += [_encode(colour, "AVIF", save_all=True, append_images=[colour])]
    files += [heic(colour), heic(colour.convert("RGBA")), heic(colour.convert("L")), heic_10_bits(pixels[:, :, 0])]
    files.append(_heic_grid(colour))
    wide = pixels.astype(np.int64) * 257
    files += [picture(wide, 16, 2, planar=True, compressed=True), picture(wide[:, :, :1], 16, 0, tile=16)]
    files += [picture(wide[:, :, :1] >> 4, 12, 1), picture(wide, 16, 2, compressed=True, predictor=True)]
    return files


def _heic_grid(colour: Image.Image) -> bytes:
    turned = grid(1, 1, 64, 48, [1])
    turned.properties.append(box(b"irot", b"\1"))
    return container("HEIF", [encode_item(colour, "HEIF"), turned], primary=2)


def mutated(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield mutated copies.

    Args:
        files: Valid files or requests.
        count: Number of copies.
        seed: The same seed gives the same copies.
    """
    generator = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(files[generator.integers(len(files))])
        for _ in range(int(generator.integers(1, 6))):
            data = _mutate(data, files, generator)
        yield bytes(data)


def _mutate(data: bytearray, files: list[bytes], generator: np.random.Generator) -> bytearray:
    if not data:
        return bytearray(b"\xff")
    # Half of the mutations change the first 100 bytes, where the headers are.
    reach = min(len(data), 100) if generator.random() < 0.5 else len(data)
    place = int(generator.integers(reach))
    match int(generator.integers(7)):
        case 0:
            data[place] ^= 1 << int(generator.integers(8))
        case 1:
            value = _EXTREME_VALUES[generator.integers(len(_EXTREME_VALUES))]
            data[place : place + len(value)] = value
        case 2:
            del data[place:]
        case 3:
            del data[place : place + int(generator.integers(1, 40))]
        case 4:
            data[place:place] = data[place : place + int(generator.integers(1, 200))]
        case 5:
            other = files[generator.integers(len(files))]
            data[place:] = other[min(place, len(other)) :]
        case _:
            data[place : place + 8] = generator.bytes(8)
    return data


def _encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()
