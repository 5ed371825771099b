"""Search for image files. Reads folders; opens no file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Formats that `app.vision.decode` reads. Files in folders need one of these suffixes, files on the command line do not.
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})
SUFFIXES = JPEG_SUFFIXES | {".png", ".webp", ".avif", ".heic", ".heif", ".bmp", ".gif", ".tif", ".tiff"}


def find_images(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and the image files below folders, each once. The files of a folder are in order of their paths.

    Args:
        paths: Files and folders.

    Raises:
        FileNotFoundError: A path does not exist; `filename` names it.
    """
    seen: set[Path] = set()
    for start in paths:
        if start.is_dir():
            found = sorted(path for path in start.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        elif start.exists():
            found = [start]
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(start))
        yield from (path for path in found if path not in seen)
        seen.update(found)
