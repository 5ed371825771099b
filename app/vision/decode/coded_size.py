"""Picture sizes inside coded video data: sequence headers of HEVC (HEIC) and AV1 (AVIF).

A decoder allocates what these headers claim, whatever the container states.
Sources: ITU-T H.265, 7.3; AV1 bitstream specification, 5.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_HEVC_SPS, _HEVC_FIRST_NON_PICTURE = 33, 32
_PLANES = (1, 1.5, 2, 3)  # samples per pixel by chroma_format_idc
_AV1_SEQUENCE_HEADER, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 3, 6


class CodedSize(NamedTuple):
    """Size by a sequence header.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        largest_pixels: Pixels of the largest picture that may follow the header.
        planes: Samples per pixel: 1 without colour, 1.5 with colours at half resolution, 2 or 3.
        is_deep: The samples have more than 8 bits.
    """

    width: int
    height: int
    largest_pixels: int
    planes: float
    is_deep: bool


class CodedPicture(NamedTuple):
    """What a decoder will decode for one item.

    Attributes:
        sizes: Sizes by all sequence headers.
        pictures: Number of pictures in the data.
    """

    sizes: list[CodedSize]
    pictures: int


class Bits:
    """Bits of a byte string, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def number(self, count: int) -> int:
        """Read an unsigned number of `count` bits.

        Raises:
            ValueError: No bits are left.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError("a sequence header is too short")
        return self._value >> self._left & ((1 << count) - 1)

    def exponential(self) -> int:
        """Read an unsigned exponential Golomb number (ITU-T H.265, 9.2)."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("a number of a sequence header is too large")
        return (1 << zeros) - 1 + self.number(zeros)


def read_hevc(config: bytes, data: bytes) -> CodedPicture:
    """Return what an HEVC item claims.

    Args:
        config: Content of the property `hvcC`.
        data: Data of the item.

    Raises:
        ValueError: The data is damaged.
    """
    sizes, pictures = [], 0
    length_bytes = (config[21] & 3) + 1
    for unit in (*_config_units(config), *_length_prefixed(data, length_bytes)):
        kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
        if kind == _HEVC_SPS:
            sizes.append(_hevc_size(unit))
        elif kind < _HEVC_FIRST_NON_PICTURE and layer == 0 and len(unit) > 2:
            pictures += unit[2] >> 7  # first_slice_segment_in_pic_flag
    return CodedPicture(sizes, pictures)


def _config_units(config: bytes) -> Iterator[bytes]:
    position = 23
    for _ in range(config[22]):
        count = int.from_bytes(config[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            size = int.from_bytes(config[position : position + 2], "big")
            if size < 2 or position + 2 + size > len(config):
                raise ValueError("hvcC is damaged")
            yield config[position + 2 : position + 2 + size]
            position += 2 + size


def _length_prefixed(data: bytes, length_bytes: int) -> Iterator[bytes]:
    position = 0
    while position + length_bytes + 2 <= len(data):
        size = int.from_bytes(data[position : position + length_bytes], "big")
        position += length_bytes
        if size >= 2:
            yield data[position : position + min(size, 1024)]  # the headers are at its beginning
        position += size


def _hevc_size(unit: bytes) -> CodedSize:
    bits = Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))
    bits.number(4)
    sub_layers = bits.number(3)
    bits.number(1 + 96)  # temporal nesting, general profile and level
    present = [(bits.number(1), bits.number(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.number(2 * (8 - sub_layers))
    for profile, level in present:
        bits.number(88 * profile + 8 * level)
    bits.exponential()
    chroma = bits.exponential()
    if chroma == 3:
        bits.number(1)
    width, height = bits.exponential(), bits.exponential()
    if bits.number(1):  # conformance window
        for _ in range(4):
            bits.exponential()
    return CodedSize(width, height, width * height, _PLANES[chroma], bits.exponential() > 0)


def read_av1(config: bytes, data: bytes) -> CodedPicture:
    """Return what an AV1 item claims.

    Args:
        config: Content of the property `av1C`.
        data: Data of the item.

    Raises:
        ValueError: The data is damaged.
    """
    sizes, frames = [], 0
    for part in (config[4:], data):
        for kind, unit in _open_bitstream_units(part):
            if kind == _AV1_SEQUENCE_HEADER:
                sizes.append(_av1_size(unit, config[2]))
            frames += kind in {_AV1_FRAME_HEADER, _AV1_FRAME}
    return CodedPicture(sizes, frames)


def _open_bitstream_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        head = data[position]
        position += 2 if head & 4 else 1
        size = len(data) - position
        if head & 2:
            size = 0
            for index in range(8):
                size |= (data[position] & 127) << 7 * index
                position += 1
                if not data[position - 1] & 128:
                    break
        yield head >> 3 & 15, data[position : position + min(size, 1024)]
        position += size


def _av1_size(unit: bytes, flags: int) -> CodedSize:
    bits = Bits(unit)
    bits.number(3 + 1)  # profile, still picture
    reduced = bits.number(1)
    if reduced:
        bits.number(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.number(4) + 1, bits.number(4) + 1
    width, height = bits.number(width_bits) + 1, bits.number(height_bits) + 1
    # Without the reduced header, a frame may override its size with any number of so many bits.
    largest = width * height if reduced else 1 << width_bits + height_bits
    # The decoder refuses a picture with other planes than `av1C` states, after it has decoded the planes only.
    planes = 1 if flags & 0x10 else 3 - (flags >> 3 & 1) - (flags >> 2 & 1) / 2
    return CodedSize(width, height, largest, planes, bool(flags & 0x40))


def _skip_operating_points(bits: Bits) -> None:
    delay_bits = 0
    if bits.number(1):  # timing information
        bits.number(64)
        if bits.number(1):
            bits.exponential()
        if bits.number(1):  # decoder model
            delay_bits = bits.number(5) + 1
            bits.number(32 + 5 + 5)
    delay = bits.number(1)
    for _ in range(bits.number(5) + 1):
        bits.number(12)
        if bits.number(5) > 7:
            bits.number(1)
        if delay_bits and bits.number(1):
            bits.number(2 * delay_bits + 1)
        if delay and bits.number(1):
            bits.number(4)
