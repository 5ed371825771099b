"""JPEG structure: frame, scans and components."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image

# A marker that has a length or ends the image; stuffed bytes and restart markers are left out.
# Source: ITU-T T.81, table B.1.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
# Start of frame, and the frames that are lossless and cannot be reduced.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_FRAMES = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SCAN = 0xDA
_END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd9", b"\xff\xda"
_START_OF_SCAN_PAIR = int.from_bytes(_START_OF_SCAN, sys.byteorder)


@dataclass(frozen=True, slots=True)
class JpegStructure:
    """How the first image of a JPEG file is stored.

    Attributes:
        is_lossless: The image has no blocks of coefficients and cannot be reduced.
        is_buffered: The decoder holds the coefficients of the whole image, because a scan has a part of them only.
        scans: Number of scans.
    """

    is_lossless: bool
    is_buffered: bool
    scans: int

    @classmethod
    def of(cls, image: Image.Image, data: bytes) -> JpegStructure:
        """Read the structure of a file.

        Args:
            image: Opened file whose pixels are not decoded yet.
            data: The same file.
        """
        frame, scanned_components = _frame_and_first_scan(data)
        scans = count_scans(data)
        is_partial = scanned_components < len(getattr(image, "layer", ()))
        return cls(frame in _LOSSLESS_FRAMES, frame in _PROGRESSIVE_FRAMES or is_partial or scans > 1, scans)


def _frame_and_first_scan(data: bytes) -> tuple[int, int]:
    """Return the type of the frame, and the number of components in the first scan; 0 if the file has none."""
    frame, position = 0, 2
    while marker := _MARKER.search(data, position):
        kind = marker[0][1]
        if kind in _FRAMES:
            frame = kind
        if kind == _SCAN:
            return frame, int.from_bytes(data[marker.end() + 2 : marker.end() + 3], "big")
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return frame, 0


def count_scans(data: bytes) -> int:
    """Return the number of scans in the first image of a JPEG file.

    The count ends with the first image: the decoder ignores what follows (more images, a phone's video).
    """
    # Most files contain the two bytes of this marker once, in any position. Counting them with numpy takes a fifth of
    # the time of the search below and releases the GIL.
    pairs = [np.frombuffer(data, np.uint16, (len(data) - first) // 2, first) for first in (0, 1)]
    occurrences = sum(int(np.count_nonzero(pair == _START_OF_SCAN_PAIR)) for pair in pairs)
    if occurrences <= 1:
        return occurrences
    scans, position = 0, 2
    while (marker := _MARKER.search(data, position)) and marker[0] != _END_OF_IMAGE:
        scans += marker[0] == _START_OF_SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def coefficients_per_pixel(image: Image.Image) -> float:
    """Return the coefficients of all components per pixel: 3 without chroma subsampling, 1.5 with 4:2:0."""
    # Pillow's `layer` has one entry per component: id, horizontal sampling, vertical sampling, quantization table.
    samples: list[int] = [horizontal * vertical for _, horizontal, vertical, _ in getattr(image, "layer", ())]
    return sum(samples) / max(samples, default=1)


def find_end_of_image(data: bytes) -> int:
    """Return the position of the marker that ends the first image of a JPEG file; the end of the file without one."""
    position = 2
    while (marker := _MARKER.search(data, position)) and marker[0] != _END_OF_IMAGE:
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return marker.start() if marker else len(data)


def has_end_of_image(data: bytes) -> bool:
    """Return whether a JPEG file has the marker that ends its first image."""
    return data.endswith(_END_OF_IMAGE) or find_end_of_image(data) < len(data)
