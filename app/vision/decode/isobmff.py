"""Boxes and items of ISO base media files, the containers of AVIF and HEIC.

Only what the limits need: the picture items, their sizes, their references and the place of their data.
Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

MAX_BOXES = 20_000  # a grid of 48 megapixels has about 200 items with four boxes each
_FULL_BOX_BYTES = 4  # version and flags


class Reader:
    """Big-endian numbers of a range of bytes.

    Args:
        data: The file.
        start: First position.
        end: End of the range.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.position, self.end = data, start, min(end, len(data))

    def number(self, size: int) -> int:
        """Read an unsigned number of `size` bytes; a number of 0 bytes is 0."""
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        """Read `size` bytes.

        Raises:
            ValueError: The range is too short.
        """
        if size < 0 or self.position + size > self.end:
            raise ValueError("a box is too short")
        self.position += size
        return self.data[self.position - size : self.position]


def read_brands(data: bytes) -> list[bytes]:
    """Return the major brand and the compatible brands of a file that begins with a `ftyp` box."""
    end = min(int.from_bytes(data[:4], "big"), len(data), 4096)
    return [data[8:12]] + [data[at : at + 4] for at in range(16, end - 3, 4)]


def read_boxes(reader: Reader) -> Iterator[tuple[bytes, Reader]]:
    """Yield the type and the content of each box in a range.

    Raises:
        ValueError: A box is larger than the range, or there are too many.
    """
    for _ in range(MAX_BOXES):
        if reader.position + 8 > reader.end:
            return
        start = reader.position
        size, kind = struct.unpack(">I4s", reader.take(8))
        if size == 1:
            size = reader.number(8)
        end = reader.end if size == 0 else start + size
        if not reader.position <= end <= reader.end:
            raise ValueError("a box is larger than its container")
        yield kind, Reader(reader.data, reader.position, end)
        reader.position = end
    raise ValueError("the file has too many boxes")


@dataclass
class Item:
    """One item: a coded picture, a derived picture (grid, overlay, identity) or metadata.

    Attributes:
        kind: Four characters: `hvc1`, `av01`, `grid`, ...
        data: Complete data of the item, its extents joined.
        properties: Type and content of its properties.
        inputs: Items from which a derived picture is made.
        auxiliaries: Items such as an alpha plane that belong to the picture.
    """

    kind: bytes = b""
    data: bytes = b""
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    auxiliaries: list[int] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height by the property `ispe`, before rotation; (0, 0) without one."""
        for kind, body in self.properties:
            if kind == b"ispe" and len(body) >= _FULL_BOX_BYTES + 8:
                width, height = struct.unpack_from(">II", body, _FULL_BOX_BYTES)
                return width, height
        return 0, 0


@dataclass
class ItemTable:
    """The items of a file, by their numbers."""

    items: dict[int, Item] = field(default_factory=dict)
    primary: int = 0

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read the `meta` box of a file.

        Raises:
            ValueError: The file has no items, or a box is damaged.
        """
        for kind, meta in read_boxes(Reader(data, 0, len(data))):
            if kind == b"meta":
                return cls._read_meta(meta)
        raise ValueError("the file has no still picture")

    @classmethod
    def _read_meta(cls, meta: Reader) -> Self:
        meta.take(_FULL_BOX_BYTES)
        boxes = dict(read_boxes(meta))
        table = cls()
        table._read_primary(boxes[b"pitm"])
        table._read_infos(boxes[b"iinf"])
        table._read_properties(boxes[b"iprp"])
        if b"iref" in boxes:
            table._read_references(boxes[b"iref"])
        table._read_locations(boxes[b"iloc"], boxes.get(b"idat"))
        return table

    def _read_primary(self, box: Reader) -> None:
        version = box.number(_FULL_BOX_BYTES) >> 24
        self.primary = box.number(4 if version else 2)

    def _read_infos(self, box: Reader) -> None:
        box.number(4 if box.number(_FULL_BOX_BYTES) >> 24 else 2)
        for kind, info in read_boxes(box):
            version = info.number(_FULL_BOX_BYTES) >> 24
            if kind == b"infe" and version >= 2:
                number = info.number(2 if version == 2 else 4)
                info.take(2)
                self.items[number] = Item(info.take(4))

    def _read_properties(self, box: Reader) -> None:
        properties: list[tuple[bytes, bytes]] = []
        for kind, content in read_boxes(box):
            if kind == b"ipco":
                properties = [(name, each.take(each.end - each.position)) for name, each in read_boxes(content)]
            elif kind == b"ipma":
                self._read_associations(content, properties)

    def _read_associations(self, box: Reader, properties: list[tuple[bytes, bytes]]) -> None:
        head = box.number(_FULL_BOX_BYTES)
        index_bytes, id_bytes = (2 if head & 1 else 1), (4 if head >> 24 else 2)
        for _ in range(box.number(4)):
            item = self.items.get(box.number(id_bytes), Item())
            for _ in range(box.number(1)):
                index = box.number(index_bytes) & (0x7FFF if index_bytes == 2 else 0x7F)
                if 0 < index <= len(properties):
                    item.properties.append(properties[index - 1])

    def _read_references(self, box: Reader) -> None:
        id_bytes = 4 if box.number(_FULL_BOX_BYTES) >> 24 else 2
        for kind, content in read_boxes(box):
            source = content.number(id_bytes)
            targets = [content.number(id_bytes) for _ in range(content.number(2))]
            if kind == b"dimg" and source in self.items:
                self.items[source].inputs += targets
            elif kind == b"auxl":
                for target in targets:
                    self.items.get(target, Item()).auxiliaries.append(source)

    def _read_locations(self, box: Reader, idat: Reader | None) -> None:
        version = box.number(_FULL_BOX_BYTES) >> 24
        sizes = box.number(2)
        offset_bytes, length_bytes, base_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
        index_bytes = sizes & 15 if version else 0
        id_bytes = 4 if version == 2 else 2
        left = 2 * len(box.data)  # extents may overlap: without a limit, a small file could claim gigabytes
        for _ in range(box.number(id_bytes)):
            item = self.items.get(box.number(id_bytes), Item())
            in_idat = version > 0 and box.number(2) & 15 == 1
            box.take(2)
            base = box.number(base_bytes)
            parts = []
            for _ in range(box.number(2)):
                box.take(index_bytes)
                offset, length = base + box.number(offset_bytes), box.number(length_bytes)
                start = offset + idat.position if in_idat and idat else offset
                parts.append(box.data[start : start + length] if length else box.data[start:])
                left -= len(parts[-1])
                if left < 0:
                    raise ValueError("the items claim more data than the file has")
            item.data = b"".join(parts)
