"""JPEG files of any size, made without the memory of their pixels."""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image

_END = b"\xff\xd9"


def flat_jpeg(mode: str, width: int, height: int, **options: Any) -> bytes:
    """Return a complete JPEG of one grey level. It has two bits for each block of 8x8 pixels and component.

    Args:
        mode: `L`, `RGB` or `CMYK`.
        width: Width in pixels.
        height: Height in pixels.
        options: Options of Pillow's encoder, for example `subsampling`; not `progressive`.
    """
    level = 127 if mode == "CMYK" else 128  # all coefficients are 0: Pillow inverts CMYK
    small = io.BytesIO()
    Image.new(mode, (64, 64), (level,) * len(Image.new(mode, (1, 1)).getbands())).save(
        small, "JPEG", optimize=True, **options
    )
    with Image.open(small) as image:
        samples = [(horizontal, vertical) for _, horizontal, vertical, _ in getattr(image, "layer", ())]
    data = small.getvalue()
    scan = data.index(b"\xff\xda") + 2
    head = data[: scan + int.from_bytes(data[scan : scan + 2], "big")]
    block_width, block_height = (8 * max(factors) for factors in zip(*samples, strict=True))
    units = -(-width // block_width) * -(-height // block_height)
    bits = 2 * units * sum(horizontal * vertical for horizontal, vertical in samples)
    return resized_jpeg(head + bytes(bits // 8 + 1) + _END, width, height)


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG whose frame claims another size."""
    frame = next(at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC2))
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]
