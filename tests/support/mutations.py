"""Spoiled files and requests: real ones with bytes flipped, cut, doubled, swapped or overwritten, from a seed."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# Numbers that length and size fields do not like.
_NASTY = (
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
    """Small valid files of every format, in several colour modes and with what the formats allow beside pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    files = [_saved(colour, image_format) for image_format in FORMATS]
    files += [_saved(colour.convert("L"), image_format) for image_format in FORMATS]
    files += [_saved(colour.convert("RGBA"), image_format) for image_format in ("PNG", "WEBP", "TIFF")]
    files += [_saved(colour.convert("P"), image_format) for image_format in ("PNG", "GIF", "BMP", "TIFF")]
    files += [_saved(colour.convert("CMYK"), "JPEG"), _saved(colour, "JPEG", progressive=True)]
    files += [_saved(colour, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    exif = Image.Exif()
    exif[0x0112] = 6
    files += [_saved(colour, image_format, exif=exif) for image_format in ("JPEG", "PNG", "WEBP")]
    return files


def mutated(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many spoiled copies, the same for the same seed."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(files[generator.integers(len(files))])
        for _ in range(int(generator.integers(1, 6))):
            data = _spoiled(data, files, generator)
        yield bytes(data)


def _spoiled(data: bytearray, files: list[bytes], generator: np.random.Generator) -> bytearray:
    if not data:
        return bytearray(b"\xff")
    # Headers are where the decisions are: half of the changes fall into the first 100 bytes.
    reach = min(len(data), 100) if generator.random() < 0.5 else len(data)
    place = int(generator.integers(reach))
    match int(generator.integers(7)):
        case 0:
            data[place] ^= 1 << int(generator.integers(8))
        case 1:
            nasty = _NASTY[generator.integers(len(_NASTY))]
            data[place : place + len(nasty)] = nasty
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


def _saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()
