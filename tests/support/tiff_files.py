"""TIFF files with any layout of samples, written byte by byte."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_LONG = 4


def tiff_file(directories: list[dict[int, tuple[int, ...]]], data: list[bytes], order: str = "<") -> bytes:
    """Return a TIFF file.

    Args:
        directories: Tags of each directory of the chain. Tag 273 (strips) or 324 (tiles) holds indices of `data`.
        data: Strips and tiles.
        order: `<` or `>`.
    """
    header_bytes = 8
    places = np.cumsum([header_bytes, *(len(each) + len(each) % 2 for each in data)])
    body = b"".join(each + bytes(len(each) % 2) for each in data)
    written, position = b"", header_bytes + len(body)
    for index, directory in enumerate(directories):
        tags = dict(directory)
        for offsets, sizes in ((273, 279), (324, 325)):
            if offsets in tags:
                tags[sizes] = tuple(len(data[each]) for each in tags[offsets])
                tags[offsets] = tuple(int(places[each]) for each in tags[offsets])
        values_at = position + 2 + 12 * len(tags) + 4
        entries, values = struct.pack(order + "H", len(tags)), b""
        for tag, numbers in sorted(tags.items()):
            packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
            place = packed if len(numbers) == 1 else struct.pack(order + "I", values_at + len(values))
            values += packed if len(numbers) > 1 else b""
            entries += struct.pack(order + "HHI", tag, _LONG, len(numbers)) + place
        following = values_at + len(values)
        written += entries + struct.pack(order + "I", following if index + 1 < len(directories) else 0) + values
        position = following
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", header_bytes + len(body)) + body + written


def pack_samples(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Return rows of samples, each padded to whole bytes.

    Args:
        samples: Integers (rows, samples).
        bits: Bits of a sample: 8, 16, or another number for packed samples with the highest bit first.
        order: Byte order of 16-bit samples.
    """
    if bits == 8:
        return samples.astype(np.uint8).tobytes()
    if bits == 16:
        return samples.astype(order + "u2").tobytes()
    single = samples[:, :, np.newaxis] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(single.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def picture(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    compressed: bool = False,
    tile: int = 0,
    rows_per_strip: int = 0,
    predictor: bool = False,
    stored_bits: int = 0,
    more: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """Return a TIFF file of one picture.

    Args:
        samples: Integers (H, W, samples), not negative.
        bits: BitsPerSample.
        photometric: 0 WhiteIsZero, 1 BlackIsZero, 2 RGB, 5 CMYK.
        order: `<` or `>`.
        planar: One plane for each sample.
        compressed: Deflate.
        tile: Side of the tiles; 0 for strips.
        rows_per_strip: Rows of a strip; 0 for one strip.
        predictor: Store differences (16 bits only).
        stored_bits: Bits that a sample takes, if not `bits`.
        more: Further tags.
    """
    height, width, count = samples.shape
    planes = [samples[:, :, index : index + 1] for index in range(count)] if planar else [samples]
    data = []
    for plane in planes:
        blocks = _tiles(plane, tile) if tile else _strips(plane, rows_per_strip or height)
        for each in blocks:
            block = each
            if predictor:
                block = np.diff(each.astype(np.int64), axis=1, prepend=0) & 0xFFFF
            packed = pack_samples(block.reshape(len(block), -1), stored_bits or bits, order)
            data.append(zlib.compress(packed) if compressed else packed)
    tags: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (bits,) * count,
        259: (8 if compressed else 1,),
        262: (photometric,),
        277: (count,),
        284: (2 if planar else 1,),
    }
    numbers = tuple(range(len(data)))
    tags |= {322: (tile,), 323: (tile,), 324: numbers} if tile else {273: numbers, 278: (rows_per_strip or height,)}
    if predictor:
        tags[317] = (2,)
    return tiff_file([tags | (more or {})], data, order)


def _strips(plane: np.ndarray, rows: int) -> list[np.ndarray]:
    return [plane[top : top + rows] for top in range(0, len(plane), rows)]


def _tiles(plane: np.ndarray, side: int) -> list[np.ndarray]:
    height, width, _ = plane.shape
    padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    return [
        padded[top : top + side, left : left + side] for top in range(0, height, side) for left in range(0, width, side)
    ]
