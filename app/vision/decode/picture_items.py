"""Limits on the pictures of AVIF and HEIC files, which apply before any picture is decoded."""

from __future__ import annotations

from app.errors import ErrorCode, FerError
from app.vision.decode.coded_size import av1_sizes, hevc_sizes
from app.vision.decode.isobmff import Item, ItemTable
from app.vision.decode.limits import check_size

_CODED = {b"hvc1": (b"hvcC", hevc_sizes), b"hev1": (b"hvcC", hevc_sizes), b"av01": (b"av1C", av1_sizes)}
_DERIVED = frozenset({b"grid", b"iden", b"iovl"})
_MAX_DEPTH = 3
_LARGEST_BLOCK_PX = 64  # coded sizes are multiples of a block
# A picture, its alpha plane and the edges of grid tiles; anything above decodes pixels that nobody sees.
_CODED_PER_PIXEL, _ADDITIONAL_PIXELS = 3, 4_000_000
_MIN_ITEM_PIXELS = 4096  # an item has a cost whatever its size
# Largest picture of an AV1 sequence that states no exact size: 150 MB at 16 bits and full chroma.
_MAX_INEXACT_PIXELS = 25_000_000


def read_picture_size(data: bytes) -> tuple[int, int]:
    """Check the items of the primary picture and return its size.

    The container, the coded data and the sum of all parts must agree, so that a limit on the size of the picture also
    limits the memory and the time of its decoder.

    Args:
        data: AVIF or HEIC file.

    Returns:
        Width and height in pixels, before rotation.

    Raises:
        FerError: `unsupported_image_format` if the picture is coded with another codec.
        Exception: The file is damaged, or decoding it would cost more than its size.
    """
    table = ItemTable.read(data)
    width, height = table.items[table.primary].size
    _Cost(table, _CODED_PER_PIXEL * width * height + _ADDITIONAL_PIXELS).add(table.primary, 0)
    return width, height


def still_picture(data: bytes, max_pixels: int) -> bytes:
    """Check the primary picture of an AVIF file, and return a file that makes the decoder use it.

    The decoder would read an image sequence from its track, whose frames have no limits that apply before decoding.
    Its first frame is the primary picture too.

    Args:
        data: AVIF file.
        max_pixels: Largest accepted width times height.

    Raises:
        FerError: The limits refuse the file.
        Exception: The file is damaged, has no still picture, or decoding it would cost more than its size.
    """
    check_size(*read_picture_size(data), max_pixels)
    return data[:8] + b"avif" + data[12:] if data[8:12] != b"avif" else data


class _Cost:
    """Sum of the pixels that the decoder decodes.

    Args:
        table: Items of the file.
        limit: Largest sum.
    """

    def __init__(self, table: ItemTable, limit: int) -> None:
        self._table, self._left = table, limit
        self._checked: set[int] = set()

    def add(self, number: int, depth: int) -> None:
        """Add the cost of an item and of the items that it uses.

        Raises:
            ValueError: The sum is above the limit, or an item is damaged.
        """
        item = self._table.items[number]
        width, height = item.size
        self._left -= max(width * height, _MIN_ITEM_PIXELS)
        if self._left < 0 or depth > _MAX_DEPTH:
            raise ValueError("the picture has more parts than its size explains")
        if item.kind in _CODED:
            if number not in self._checked:
                _check_coded_item(item)
            self._checked.add(number)
        elif item.kind not in _DERIVED:
            raise FerError(
                ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
                "expected a picture of HEVC or AV1 in a HEIF file. Received: one of the kind"
                f" {item.kind.decode('ascii', 'replace')}",
            )
        for each in (*item.inputs, *filter(self._is_alpha, item.auxiliaries)):
            self.add(each, depth + 1)

    def _is_alpha(self, number: int) -> bool:
        item = self._table.items[number]
        return any(kind == b"auxC" and (b"alpha" in body or b"auxid:1" in body) for kind, body in item.properties)


def _check_coded_item(item: Item) -> None:
    name, read_sizes = _CODED[item.kind]
    config = next(body for kind, body in item.properties if kind == name)
    sizes, pictures = read_sizes(config, item.data)
    width, height = item.size
    if not sizes or pictures > 1:
        raise ValueError("an item has no sequence header, or several pictures")
    for size in sizes:
        if size.width > width + _LARGEST_BLOCK_PX or size.height > height + _LARGEST_BLOCK_PX:
            raise ValueError("the coded picture is larger than its container says")
        if size.largest_pixels > max(size.width * size.height, _MAX_INEXACT_PIXELS):
            raise ValueError("a sequence header allows too large pictures")
