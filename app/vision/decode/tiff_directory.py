"""Directories of TIFF files: which one has the picture, and how its samples are stored."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.errors import ErrorCode, FerError

NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 284, 317, 322, 323, 324, 325
SUB_DIRECTORIES, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 330, 338, 339, 50706

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
_SENSOR_DATA = frozenset({32803, 34892})  # colour filter array, linear raw
UNCOMPRESSED, PADDED_TO_16_BITS, LOWEST_BIT_FIRST = 1, 32771, 2
_BYTE_COMPRESSIONS = frozenset({1, 5, 8, 32771, 32773, 32946, 34925, 50000})  # codecs of bytes, not of pictures
_UNSIGNED, _SIGNED = 1, 2
_MAX_DIRECTORIES = 16
_LONG = 4  # type of an entry
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}

Directory = ImageFileDirectory_v2


@dataclass(frozen=True, slots=True)
class SampleLayout:
    """How the samples of a picture are stored, if Pillow does not read them correctly.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        bits: Bits of a sample, 8 to 16.
        stored_bits: Bits that a sample takes in the file.
        samples: Samples per pixel.
        colours: Samples of the colour: 1, 3 or 4 (CMYK).
        alpha: The value of ExtraSamples for the sample after the colours: 1 (premultiplied), 2, or 0 for none.
        photometric: Meaning of the colours.
        is_signed: The samples are two's complement.
        is_planar: Each sample has its own plane.
        is_predicted: Each sample is the difference from the previous pixel's.
    """

    width: int
    height: int
    bits: int
    stored_bits: int
    samples: int
    colours: int
    alpha: int
    photometric: int
    is_signed: bool
    is_planar: bool
    is_predicted: bool


def find_picture(data: bytes, file: io.BytesIO) -> tuple[Directory, bool]:
    """Return the directory of the full picture, and whether it is the first directory.

    The first directory of some files is a thumbnail. The full picture is then in the next one or in a sub-directory.

    Args:
        data: The file.
        file: Reader of the same file.

    Raises:
        FerError: `unsupported_image_format` for the sensor data of a camera.
        Exception: The file is damaged.
    """
    header = data[: 16 if is_big_tiff(data) else 8]
    chain = _read_chain(Directory(header).next, header, file)
    nested = [
        each
        for directory in chain
        for offset in _tuple(directory.get(SUB_DIRECTORIES, ()))[:_MAX_DIRECTORIES]
        for each in _read_chain(offset, header, file)[:1]
    ]
    is_raw = any(DNG_VERSION in each or each.get(PHOTOMETRIC) in _SENSOR_DATA for each in (*chain, *nested))
    if not is_raw and not _is_thumbnail(chain[0]):
        return chain[0], True
    full = [each for each in (*chain[1:], *nested) if not _is_thumbnail(each)]
    if is_raw or (nested and not full):
        raise FerError(
            ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
            "expected a picture. Received: a camera raw file (TIFF with sensor data); send the JPEG of the camera, or"
            " export the photograph as JPEG",
        )
    picture = max(full, key=lambda each: _number(each, WIDTH) * _number(each, LENGTH), default=chain[0])
    return picture, picture is chain[0]


def with_offset(data: bytes, offset: int) -> bytes:
    """Return a copy of a TIFF file whose first directory is at this offset."""
    order = "<" if data[:2] == b"II" else ">"
    if is_big_tiff(data):
        return data[:8] + struct.pack(f"{order}Q", offset) + data[16:]
    return data[:4] + struct.pack(f"{order}L", offset) + data[8:]


def with_directory(data: bytes, entries: dict[int, tuple[int, ...]]) -> bytes:
    """Return a copy of a TIFF file whose only directory has these entries. The picture data stays where it is."""
    is_little = data[:2] == b"II"
    order = "<" if is_little else ">"
    padding = bytes(len(data) % 2)
    start = len(data) + len(padding)
    values_start = start + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        place = packed if len(numbers) == 1 else struct.pack(f"{order}L", values_start + len(values))
        values += packed if len(numbers) > 1 else b""
        directory += struct.pack(f"{order}HHL", tag, _LONG, len(numbers)) + place
    header = data[:2] + (b"*\0" if is_little else b"\0*") + struct.pack(f"{order}L", start)
    return header + data[8:] + padding + directory + bytes(4) + values


def is_uncompressed(directory: Directory) -> bool:
    """Return whether the strips or tiles are stored as they are."""
    return directory.get(COMPRESSION, UNCOMPRESSED) in {UNCOMPRESSED, PADDED_TO_16_BITS}


def is_big_tiff(data: bytes) -> bool:
    """Return whether a TIFF file has 64-bit offsets."""
    return b"+" in data[2:4]


def sample_layout(directory: Directory) -> SampleLayout | None:
    """Return the layout of samples that Pillow does not read or reads incorrectly; None for all others.

    These are samples of 9 to 16 bits and signed samples. Pillow reduces 16-bit colours without regard to the range
    that they use, ignores WhiteIsZero and mistakes the planes of planar files.
    """
    bits, formats = set(_tuple(directory.get(BITS, 1))), set(_tuple(directory.get(SAMPLE_FORMAT, _UNSIGNED)))
    photometric = directory.get(PHOTOMETRIC, WHITE_IS_ZERO)
    compression = directory.get(COMPRESSION, UNCOMPRESSED)
    is_signed = formats == {_SIGNED}
    if len(bits) != 1 or len(formats) != 1 or not formats <= {_UNSIGNED, _SIGNED} or photometric not in _COLOURS:
        return None
    depth = bits.pop()
    if not (9 <= depth <= 16 or (depth == 8 and is_signed)) or compression not in _BYTE_COMPRESSIONS:
        return None
    colours, samples = _COLOURS[photometric], _number(directory, SAMPLES_PER_PIXEL, 1)
    extra = _tuple(directory.get(EXTRA_SAMPLES, ()))
    alpha = extra[0] if extra and extra[0] in {1, 2} and samples > colours else 0
    if samples < colours:
        raise ValueError("the file has fewer samples than colours")
    width, height = _number(directory, WIDTH), _number(directory, LENGTH)
    is_planar = directory.get(PLANAR, 1) == 2 and samples > 1
    stored = _stored_bits(directory, depth, width * (1 if is_planar else samples))
    is_predicted = directory.get(PREDICTOR, 1) == 2
    return SampleLayout(
        width, height, depth, stored, samples, colours, alpha, photometric, is_signed, is_planar, is_predicted
    )


def _stored_bits(directory: Directory, depth: int, samples_per_row: int) -> int:
    """Return 16 for samples that are padded to 16 bits, which files say with their sizes only."""
    if directory.get(COMPRESSION, UNCOMPRESSED) == PADDED_TO_16_BITS:
        return 16
    rows = min(_number(directory, ROWS_PER_STRIP, 2**31), _number(directory, LENGTH))
    strips = _tuple(directory.get(STRIP_BYTES, ()))
    is_padded = bool(strips) and strips[0] >= 2 * samples_per_row * rows
    return 16 if depth > 8 and is_padded and directory.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED else depth


def _read_chain(offset: int, header: bytes, file: io.BytesIO) -> list[Directory]:
    chain: list[Directory] = []
    seen: set[int] = set()
    while offset and offset not in seen and len(chain) < _MAX_DIRECTORIES:
        seen.add(offset)
        directory = Directory(header)
        file.seek(offset)
        directory.load(file)
        chain.append(directory)
        offset = directory.next
    return chain


def _is_thumbnail(directory: Directory) -> bool:
    return bool(directory.get(NEW_SUBFILE_TYPE, 0) & 1) or directory.get(SUBFILE_TYPE) == 2


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _number(directory: Directory, tag: int, default: int | None = None) -> int:
    value = directory.get(tag, default)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"TIFF tag {tag} is missing or no positive number")
    return value
