"""Repair of files that Pillow refuses although their picture is intact or almost intact."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from app.domain import ImageWarning
from app.vision.decode.jpeg import has_end_of_image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL_BIT = 0x20  # of the first letter: 0 for chunks that a decoder needs
# Ancillary chunks that change the picture. The others are text, colour profiles and times.
_USED_CHUNKS = frozenset({b"tRNS", b"eXIf", b"sBIT"})
_MIN_CHUNKS, _BYTES_PER_CHUNK = 10_000, 512
_MAX_KEPT_TEXT_BYTES = 64 * 1024  # XMP with the orientation

_END_OF_IMAGE = b"\xff\xd9"


class RepairedFile(NamedTuple):
    """A file that may be decodable now.

    Attributes:
        data: The file.
        warnings: What is missing.
    """

    data: bytes
    warnings: tuple[ImageWarning, ...]


def repair(image_format: str, data: bytes) -> RepairedFile | None:
    """Return a repaired copy of a file, or None if there is nothing to repair.

    A JPEG gets an end marker if it has none.

    Args:
        image_format: Pillow's name for the format.
        data: A file that Pillow refuses.
    """
    if image_format == "PNG":
        cleaned = _without_metadata(data)
        return None if cleaned is None else RepairedFile(cleaned, ())
    if image_format == "JPEG" and not has_end_of_image(data):
        # Zeros are what storage and networks leave where data is missing.
        return RepairedFile(data.rstrip(b"\0") + _END_OF_IMAGE, (ImageWarning.TRUNCATED,))
    return None


def _without_metadata(data: bytes) -> bytes | None:
    """Return a PNG without the chunks that are not needed for the picture or whose checksum is wrong.

    Pillow refuses a file with a wrong checksum in any chunk before the picture, and with text or a colour profile of
    more than 1 MB when unpacked.
    """
    kept, position = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    chunks_left = _MIN_CHUNKS + len(data) // _BYTES_PER_CHUNK
    while position + 12 <= len(data):
        chunks_left -= 1
        if chunks_left < 0:
            return None
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        chunk = data[position : position + size + 12]
        if not kind[0] & _CRITICAL_BIT or (_is_used(kind, chunk) and _has_right_checksum(chunk)):
            kept.append(chunk)
        position += len(chunk)
    return b"".join(kept)


def _is_used(kind: bytes, chunk: bytes) -> bool:
    is_small_text = kind in {b"tEXt", b"iTXt"} and len(chunk) <= _MAX_KEPT_TEXT_BYTES
    return kind in _USED_CHUNKS or (is_small_text and b"\0\1\0" not in chunk[8:90])  # not compressed


def _has_right_checksum(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
