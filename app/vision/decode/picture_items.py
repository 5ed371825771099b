"""Limits on the pictures of AVIF and HEIC files, which apply before any picture is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import ErrorCode, FerError
from app.vision.decode.coded_size import CodedPicture, read_av1, read_hevc
from app.vision.decode.isobmff import Item, ItemTable
from app.vision.decode.limits import check_memory, check_size

_CODED = {b"hvc1": (b"hvcC", read_hevc), b"hev1": (b"hvcC", read_hevc), b"av01": (b"av1C", read_av1)}
_DERIVED = frozenset({b"grid", b"iden", b"iovl"})
_MAX_DEPTH = 3
_LARGEST_BLOCK_PX = 64  # coded sizes are multiples of a block
# A picture, its alpha plane and the edges of grid tiles; anything above is decoded without being shown.
_CODED_PER_PIXEL, _ADDITIONAL_PIXELS = 3, 4_000_000
_MIN_ITEM_PIXELS = 4096  # an item has a cost whatever its size
# Largest picture of an AV1 sequence that states no exact size: 150 MB at 16 bits and full chroma.
_MAX_INEXACT_PIXELS = 25_000_000
_SMALL_TILE_SHARE = 1 / 8

# Peak memory of decoding in bytes per pixel, with file, rotation and grey image. Source: measured with 12 megapixels.
_HEIC_GREY, _HEIC_HALF_CHROMA, _HEIC_FULL_CHROMA, _HEIC_TILES = 3.0, 6.9, 9.5, 5.0
_HEIC_DEEP_FACTOR, _HEIC_ALPHA_FACTOR = 1.5, 1.65
_AVIF_GREY, _AVIF_COLOUR, _AVIF_ALPHA = 2.8, 8.0, 9.5  # and the planes of the codec


@dataclass
class Picture:
    """The primary picture of a file.

    Attributes:
        width: Width in pixels, before rotation.
        height: Height in pixels, before rotation.
        planes: Samples per pixel of the codec: 1 without colour, 1.5 with colours at half resolution, 2 or 3.
        is_deep: The samples have more than 8 bits.
        has_alpha: An alpha plane belongs to the picture.
        largest_item: Pixels of the largest coded item.
    """

    width: int
    height: int
    planes: float = 1
    is_deep: bool = False
    has_alpha: bool = False
    largest_item: int = 0

    @property
    def heic_bytes(self) -> float:
        """Peak memory of decoding with libheif, in bytes per pixel."""
        is_tiled = self.largest_item < self.width * self.height * _SMALL_TILE_SHARE
        if self.planes == 1:
            needed = _HEIC_GREY
        elif self.planes < 2:
            needed = _HEIC_TILES if is_tiled else _HEIC_HALF_CHROMA
        else:
            needed = _HEIC_FULL_CHROMA
        deep = _HEIC_DEEP_FACTOR if self.is_deep else 1
        return needed * deep * (_HEIC_ALPHA_FACTOR if self.has_alpha else 1)

    @property
    def avif_bytes(self) -> float:
        """Peak memory of decoding with Pillow, in bytes per pixel."""
        sample_bytes = 2 if self.is_deep else 1
        converted = _AVIF_GREY if self.planes == 1 else _AVIF_COLOUR
        planes = self.planes
        if self.has_alpha:
            converted, planes = _AVIF_ALPHA, planes + 1
        return converted + planes * sample_bytes


def read_picture(data: bytes) -> Picture:
    """Check the items of the primary picture.

    The container, the coded data and the sum of all parts must agree, so that a limit on the size of the picture also
    limits the memory and the time of its decoder.

    Args:
        data: AVIF or HEIC file.

    Raises:
        FerError: `unsupported_image_format` if the picture is coded with another codec.
        Exception: The file is damaged, or decoding it would cost more than its size.
    """
    table = ItemTable.read(data)
    picture = Picture(*table.items[table.primary].size)
    _Cost(table, picture).add(table.primary, 0)
    return picture


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
    picture = read_picture(data)
    check_size(picture.width, picture.height, max_pixels)
    check_memory(picture.width, picture.height, picture.avif_bytes, "AVIF file of this kind")
    return data[:8] + b"avif" + data[12:] if data[8:12] != b"avif" else data


class _Cost:
    """Sum of the pixels that the decoder decodes.

    Args:
        table: Items of the file.
        picture: Receives what the items say of the picture.
    """

    def __init__(self, table: ItemTable, picture: Picture) -> None:
        self._table, self._picture = table, picture
        self._left = _CODED_PER_PIXEL * picture.width * picture.height + _ADDITIONAL_PIXELS
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
                self._describe(_check_coded_item(item))
            self._checked.add(number)
            self._picture.largest_item = max(self._picture.largest_item, width * height)
        elif item.kind not in _DERIVED:
            raise FerError(
                ErrorCode.UNSUPPORTED_IMAGE_FORMAT,
                "expected a picture of HEVC or AV1 in a HEIF file. Received: one of the kind"
                f" {item.kind.decode('ascii', 'replace')}",
            )
        alpha = list(filter(self._is_alpha, item.auxiliaries))
        self._picture.has_alpha |= bool(alpha)
        for each in (*item.inputs, *alpha):
            self.add(each, depth + 1)

    def _describe(self, coded: CodedPicture) -> None:
        for size in coded.sizes:
            self._picture.planes = max(self._picture.planes, size.planes)
            self._picture.is_deep |= size.is_deep

    def _is_alpha(self, number: int) -> bool:
        item = self._table.items[number]
        return any(kind == b"auxC" and (b"alpha" in body or b"auxid:1" in body) for kind, body in item.properties)


def _check_coded_item(item: Item) -> CodedPicture:
    name, read_coded = _CODED[item.kind]
    config = next(body for kind, body in item.properties if kind == name)
    coded = read_coded(config, item.data)
    width, height = item.size
    if not coded.sizes or coded.pictures > 1:
        raise ValueError("an item has no sequence header, or several pictures")
    for size in coded.sizes:
        if size.width > width + _LARGEST_BLOCK_PX or size.height > height + _LARGEST_BLOCK_PX:
            raise ValueError("the coded picture is larger than its container says")
        if size.largest_pixels > max(size.width * size.height, _MAX_INEXACT_PIXELS):
            raise ValueError("a sequence header allows too large pictures")
    return coded
