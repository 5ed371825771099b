"""Decoding of TIFF samples that Pillow does not read: 9 to 16 bits, signed, planar, WhiteIsZero.

Pillow and libtiff decompress the strips or tiles as rows of bytes; the samples are unpacked here.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.preprocess import GreyImage
from app.vision.decode import tiff_directory as tags
from app.vision.decode.grey import blend_with_white
from app.vision.decode.levels import to_8_bits
from app.vision.decode.limits import MIN_SIDE_PX, BoundedReader, check_memory, check_size
from app.vision.decode.orientation import OPERATIONS
from app.vision.decode.tiff_directory import Directory, SampleLayout, find_picture, sample_layout

Samples = npt.NDArray[np.uint16]
ReadRows = Callable[[int, int], npt.NDArray[np.uint8]]

_STRIP_BYTES = 1 << 20
_LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_REVERSED_BITS = np.array([int(f"{value:08b}"[::-1], 2) for value in range(256)], np.uint8)
_GREY_BYTES = 5.0  # 16-bit grey twice, alpha or 8-bit grey


class FullPicture(NamedTuple):
    """The picture of a TIFF file: its pixels, or a file that Pillow reads.

    Attributes:
        grey: uint8 (H, W), upright; None if Pillow reads the file.
        data: The file, with the full picture in its first directory.
    """

    grey: GreyImage | None
    data: bytes


def full_picture(data: bytes, max_pixels: int) -> FullPicture:
    """Find the full picture of a TIFF file, and decode it if Pillow does not read its samples.

    Args:
        data: The file.
        max_pixels: Largest accepted width times height.

    Raises:
        FerError: The limits refuse the file, or it is a camera raw file.
        Exception: The file is damaged.
    """
    directory, is_first = find_picture(data, BoundedReader(data))
    layout = sample_layout(directory)
    if layout is not None:
        return FullPicture(decode_tiff_samples(data, directory, layout, max_pixels), data)
    return FullPicture(None, data if is_first else tags.with_offset(data, directory.offset))


def decode_tiff_samples(data: bytes, directory: Directory, layout: SampleLayout, max_pixels: int) -> GreyImage:
    """Decode one picture of a TIFF file.

    Args:
        data: The file.
        directory: Directory of the picture.
        layout: Layout of its samples.
        max_pixels: Largest accepted width times height.

    Returns:
        uint8 (H, W), upright.

    Raises:
        FerError: The limits refuse the file.
        Exception: The file is damaged.
    """
    _check_limits(directory, layout, max_pixels)
    blocks = _Blocks(data, directory, layout)
    planes = [blocks.rows(plane) for plane in range(layout.colours + bool(layout.alpha) if layout.is_planar else 1)]
    levels = np.empty((layout.height, layout.width), np.uint16)
    alpha = np.empty((layout.height, layout.width), np.uint8) if layout.alpha else None
    rows = max(1, _STRIP_BYTES // (blocks.row_bytes * len(planes)))
    for top in range(0, layout.height, rows):
        strip = slice(top, min(top + rows, layout.height))
        parts = [blocks.unpack(read(strip.start, strip.stop)) for read in planes]
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        levels[strip] = _to_grey(samples, layout)
        if alpha is not None:
            alpha[strip] = samples[:, :, layout.colours] >> (layout.bits - 8)
    planes.clear()
    grey = to_8_bits(levels, layout.bits)
    if alpha is not None and alpha.any():
        _blend(grey, alpha, layout)
    operation = OPERATIONS.get(directory.get(tags.ORIENTATION, 1))
    return grey if operation is None else np.asarray(Image.fromarray(grey).transpose(operation), dtype=np.uint8)


def _check_limits(directory: Directory, layout: SampleLayout, max_pixels: int) -> None:
    check_size(layout.width, layout.height, max_pixels)
    tile = directory.get(tags.TILE_WIDTH, 1), directory.get(tags.TILE_LENGTH, 1)
    # The decoder decodes complete tiles. A tile has no smallest side.
    check_size(max(tile[0], MIN_SIDE_PX), max(tile[1], MIN_SIDE_PX), max_pixels)
    sample_bytes = layout.samples * layout.stored_bits / 8
    if tags.is_uncompressed(directory):
        # Strips are read where they are. Tiles are copied and put beside each other.
        held = 2 * sample_bytes if tags.TILE_WIDTH in directory else 0.0
    else:
        # The decoder holds the picture and one strip, which may be the whole picture.
        rows = min(directory.get(tags.ROWS_PER_STRIP, layout.height), layout.height)
        held = sample_bytes * (1 + (0 if tags.TILE_WIDTH in directory else rows / layout.height))
    bytes_per_pixel = held + _GREY_BYTES
    check_memory(layout.width, layout.height, bytes_per_pixel, f"TIFF file with samples of {layout.bits} bits")


def _to_grey(samples: Samples, layout: SampleLayout) -> Samples:
    """Return the grey levels of samples, uint16 (rows, width, samples); 0 is black."""
    white = (1 << layout.bits) - 1
    colours: npt.NDArray[Any] = samples[:, :, : layout.colours]
    if layout.is_signed:
        colours = (colours ^ np.uint16(1 << (layout.bits - 1))) & np.uint16(white)
    if layout.photometric == tags.WHITE_IS_ZERO:
        colours = white - colours
    if layout.photometric == tags.CMYK:
        ink = 1 - colours.astype(np.float32) / white
        colours = ink[:, :, :3] * ink[:, :, 3:] * white
    if layout.colours == 1:
        return np.asarray(colours[:, :, 0], dtype=np.uint16)
    return np.asarray(np.rint(colours.astype(np.float32) @ _LUMA_WEIGHTS), dtype=np.uint16)


def _blend(grey: GreyImage, alpha: npt.NDArray[np.uint8], layout: SampleLayout) -> None:
    if layout.alpha == 1:  # the colours are multiplied by alpha already
        np.add(grey, np.minimum(255 - alpha, 255 - grey), out=grey)
    else:
        blend_with_white(grey, alpha)


class _Blocks:
    """The strips or tiles of a picture as rows of bytes.

    Args:
        data: The file.
        directory: Directory of the picture.
        layout: Layout of its samples.
    """

    def __init__(self, data: bytes, directory: Directory, layout: SampleLayout) -> None:
        self._data, self._directory, self._layout = data, directory, layout
        self._is_tiled = tags.TILE_OFFSETS in directory
        self._width = int(directory[tags.TILE_WIDTH]) if self._is_tiled else layout.width
        self._height = int(directory[tags.TILE_LENGTH] if self._is_tiled else directory.get(tags.ROWS_PER_STRIP, 2**31))
        self._across = -(-layout.width // self._width)
        self._samples = 1 if layout.is_planar else layout.samples
        self._row_bytes = -(-self._width * self._samples * layout.stored_bits // 8)
        self._is_little = directory.prefix == b"II"
        self._is_reversed = (
            tags.is_uncompressed(directory) and directory.get(tags.FILL_ORDER, 1) == tags.LOWEST_BIT_FIRST
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a plane."""
        return self._row_bytes * self._across

    def rows(self, plane: int) -> ReadRows:
        """Return a function that reads some rows of a plane, uint8 (rows, bytes), a block beside the other."""
        if tags.is_uncompressed(self._directory) and not self._is_tiled:
            return functools.partial(self._read_strips, self._of_plane(self._directory[tags.STRIP_OFFSETS], plane))
        decoded = self._decode(plane)
        return lambda top, bottom: np.asarray(decoded.crop((0, top, decoded.width, bottom)), dtype=np.uint8)

    def _read_strips(self, offsets: Sequence[int], top: int, bottom: int) -> npt.NDArray[np.uint8]:
        parts = []
        for strip in range(top // self._height, -(-bottom // self._height)):
            first, last = max(top, strip * self._height), min(bottom, (strip + 1) * self._height)
            start = offsets[strip] + (first - strip * self._height) * self._row_bytes
            parts.append(np.frombuffer(self._data, np.uint8, (last - first) * self._row_bytes, start))
        return np.concatenate(parts).reshape(bottom - top, self._row_bytes)

    def _decode(self, plane: int) -> Image.Image:
        """Return the bytes of a plane as an image of mode `L`."""
        compression = self._directory.get(tags.COMPRESSION, tags.UNCOMPRESSED)
        if compression == tags.PADDED_TO_16_BITS:
            compression = tags.UNCOMPRESSED
        entries: dict[int, tuple[int, ...]] = {
            tags.WIDTH: (self._row_bytes * self._across,),
            tags.LENGTH: (self._layout.height,),
            tags.BITS: (8,),
            tags.COMPRESSION: (compression,),
            tags.PHOTOMETRIC: (tags.BLACK_IS_ZERO,),
            tags.SAMPLES_PER_PIXEL: (1,),
        }
        if compression != tags.UNCOMPRESSED:
            entries[tags.FILL_ORDER] = (self._directory.get(tags.FILL_ORDER, 1),)  # libtiff reverses the bits
        if self._is_tiled:
            entries |= {tags.TILE_WIDTH: (self._row_bytes,), tags.TILE_LENGTH: (self._height,)}
        else:
            entries[tags.ROWS_PER_STRIP] = (min(self._height, self._layout.height),)
        names = (tags.TILE_OFFSETS, tags.TILE_BYTES) if self._is_tiled else (tags.STRIP_OFFSETS, tags.STRIP_BYTES)
        entries |= {tag: self._of_plane(self._directory[tag], plane) for tag in names}
        with Image.open(io.BytesIO(tags.with_directory(self._data, entries)), formats=("TIFF",)) as image:
            image.load()
            return image

    def _of_plane(self, values: Sequence[int], plane: int) -> tuple[int, ...]:
        count = self._across * -(-self._layout.height // self._height)
        selected = tuple(values)[plane * count : (plane + 1) * count]
        if len(selected) != count:
            raise ValueError("the file has too few strips or tiles")
        return selected

    def unpack(self, rows: npt.NDArray[np.uint8]) -> Samples:
        """Return the samples of some rows, uint16 (rows, width, samples of the plane)."""
        octets = rows.reshape(len(rows), self._across, self._row_bytes)
        if self._is_reversed:
            octets = _REVERSED_BITS[octets]
        count = self._width * self._samples
        samples = _unpack(octets, count, self._layout.stored_bits, self._is_little)
        samples = samples.reshape(len(rows), self._across, self._width, self._samples)
        if self._layout.is_predicted:
            samples = np.cumsum(samples, axis=2, dtype=np.uint16)
            samples &= np.uint16((1 << self._layout.stored_bits) - 1)
        return samples.reshape(len(rows), -1, self._samples)[:, : self._layout.width]


def _unpack(octets: npt.NDArray[np.uint8], count: int, bits: int, is_little: bool) -> Samples:
    """Return `count` samples per block, uint16 (rows, blocks, count), of rows of bytes (rows, blocks, bytes)."""
    if bits == 8:
        return octets.astype(np.uint16)
    if bits == 16:
        return np.ascontiguousarray(octets).view("<u2" if is_little else ">u2").astype(np.uint16)
    # Packed samples have their highest bit first, whatever the byte order of the file.
    single = np.unpackbits(octets, axis=2)[:, :, : count * bits].reshape(*octets.shape[:2], count, bits)
    padded = np.zeros((*single.shape[:3], 16), np.uint8)
    padded[..., 16 - bits :] = single
    return np.packbits(padded, axis=3).view(">u2")[..., 0].astype(np.uint16)
