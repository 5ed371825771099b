"""HEIC and AVIF files with any structure: rotation, grids, wrong sizes, endless references."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pillow_heif
from PIL import Image

from app.vision.decode.isobmff import ItemTable

CODED_KINDS = {"HEIF": b"hvc1", "AVIF": b"av01"}
_ESSENTIAL = frozenset({b"hvcC", b"av1C", b"irot", b"imir"})  # properties without which an item cannot be shown
_BRANDS = {"HEIF": b"heic", "AVIF": b"avif"}


@dataclass
class Part:
    """One item of a file.

    Attributes:
        kind: Four characters of its type.
        data: Its data.
        properties: Complete property boxes.
        inputs: Numbers of the items of which a derived picture consists. The first item has the number 1.
        alpha_of: Number of the picture whose alpha plane this item is; 0 for none.
        copies: Number of times that the file claims the data.
    """

    kind: bytes
    data: bytes
    properties: list[bytes] = field(default_factory=list)
    inputs: Sequence[int] = ()
    alpha_of: int = 0
    copies: int = 1


def heic(image: Image.Image, **options) -> bytes:
    """Return a HEIC file of an image; 16-bit greys and colours become 10 bits."""
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, **options)
    return stream.getvalue()


def heic_10_bits(grey: np.ndarray) -> bytes:
    """Return a colour HEIC file of 10 bits from uint8 (H, W)."""
    stream = io.BytesIO()
    colour = np.repeat(grey[:, :, np.newaxis], 3, axis=2).astype("<u2") * 257
    pillow_heif.encode("RGB;16", (grey.shape[1], grey.shape[0]), colour.tobytes(), stream)
    return stream.getvalue()


def encode_item(image: Image.Image, image_format: str) -> Part:
    """Return an image as a coded item with its size."""
    stream = io.BytesIO()
    if image_format == "AVIF":
        image.save(stream, "AVIF", quality=95)
    else:
        pillow_heif.from_pillow(image).save(stream, quality=95)
    item = next(iter(ItemTable.read(stream.getvalue()).items.values()))
    properties = [box(kind, body) for kind, body in item.properties]
    return Part(item.kind, item.data, properties)


def box(kind: bytes, body: bytes) -> bytes:
    """Return an ISO box."""
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full_box(kind: bytes, body: bytes, version: int = 0) -> bytes:
    """Return an ISO box with version and flags."""
    return box(kind, struct.pack(">I", version << 24) + body)


def extents(width: int, height: int) -> bytes:
    """Return the property that states the size of an item."""
    return full_box(b"ispe", struct.pack(">II", width, height))


def with_size(part: Part, width: int, height: int) -> Part:
    """Return an item that claims another size."""
    others = [each for each in part.properties if each[4:8] != b"ispe"]
    return Part(part.kind, part.data, [*others, extents(width, height)])


def grid(columns: int, rows: int, width: int, height: int, inputs: Sequence[int]) -> Part:
    """Return a grid of tiles."""
    data = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    return Part(b"grid", data, [extents(width, height)], inputs)


def container(image_format: str, parts: Sequence[Part], primary: int = 1, brands: Sequence[bytes] = ()) -> bytes:
    """Return a file with these items.

    Args:
        image_format: `HEIF` or `AVIF`.
        parts: The items, numbered from 1.
        primary: Number of the primary item.
        brands: Major and compatible brands, if they differ from the usual.
    """
    major, *compatible = brands or [_BRANDS[image_format], b"mif1", _BRANDS[image_format], b"miaf"]
    file_type = box(b"ftyp", major + bytes(4) + b"".join(compatible))
    properties = list(dict.fromkeys(each for part in parts for each in part.properties))
    infos = b"".join(
        full_box(b"infe", struct.pack(">HH4s", number, 0, part.kind) + b"\0", 2) for number, part in enumerate(parts, 1)
    )
    associations = b""
    for number, part in enumerate(parts, 1):
        associations += struct.pack(">HB", number, len(part.properties))
        for each in part.properties:
            essential = 0x8000 if each[4:8] in _ESSENTIAL else 0
            associations += struct.pack(">H", essential | properties.index(each) + 1)
    links = b"".join(
        box(b"dimg", struct.pack(f">HH{len(part.inputs)}H", number, len(part.inputs), *part.inputs))
        for number, part in enumerate(parts, 1)
        if part.inputs
    ) + b"".join(
        box(b"auxl", struct.pack(">HHH", number, 1, part.alpha_of))
        for number, part in enumerate(parts, 1)
        if part.alpha_of
    )
    table = struct.pack(">I", 1) + struct.pack(">I", len(parts)) + associations
    head = (
        full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
        + full_box(b"pitm", struct.pack(">H", primary))
        + full_box(b"iinf", struct.pack(">H", len(parts)) + infos)
        + box(b"iprp", box(b"ipco", b"".join(properties)) + box(b"ipma", table))
        + (full_box(b"iref", links) if links else b"")
    )

    def with_locations(start: int) -> bytes:
        locations = b"\x44\x00" + struct.pack(">H", len(parts))
        for number, part in enumerate(parts, 1):
            locations += struct.pack(">HHH", number, 0, part.copies)
            locations += struct.pack(">II", start, len(part.data)) * part.copies
            start += len(part.data)
        return full_box(b"meta", head + full_box(b"iloc", locations))

    start = len(file_type) + len(with_locations(0)) + 8
    return file_type + with_locations(start) + box(b"mdat", b"".join(part.data for part in parts))
