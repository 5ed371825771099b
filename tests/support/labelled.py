"""Files of small labelled sets. Every image is different noise, unless a test makes copies."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, side: int = 48, mode: str = "L") -> Image.Image:
    """Smooth noise: blocks of random grey, which survive compression and resizing."""
    blocks = np.random.default_rng(seed).integers(0, 256, size=(12, 12), dtype=np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def png(seed: int) -> bytes:
    return encoded(noise(seed))


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def class_files(classes: Iterable[str], count: int, seed: int = 0, prefix: str = "") -> dict[str, bytes]:
    """Return `count` different images in each class folder."""
    return {
        f"{prefix}{name}/{index}.png": png(seed + 1000 * place + index)
        for place, name in enumerate(classes)
        for index in range(count)
    }


def write_table(path: Path, rows: Iterable[Iterable[str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path
