"""Search for image and video files. Reads folders; opens no file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Formats that `app.vision.decode` reads. Files in folders need one of these suffixes, files on the command line do not.
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})
SUFFIXES = JPEG_SUFFIXES | {".png", ".webp", ".avif", ".heic", ".heif", ".bmp", ".gif", ".tif", ".tiff"}
# Videos need one of these suffixes in folders and on the command line.
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".ogv"}
)
_SUFFIXES = SUFFIXES | VIDEO_SUFFIXES


def is_video(path: Path) -> bool:
    """Return whether a file is a video by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and the image and video files below folders, each once, the files of a folder by their paths.

    Args:
        paths: Files and folders.

    Raises:
        FileNotFoundError: A path does not exist; `filename` names it.
    """
    seen: set[Path] = set()
    for start in paths:
        if start.is_dir():
            found = sorted(path for path in start.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        elif start.exists():
            found = [start]
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(start))
        yield from (path for path in found if path not in seen)
        seen.update(found)


def drawing_path(path: Path, folder: Path, suffix: str) -> Path:
    """Return the file for the drawing of a file: the path of the file below the folder, so that names are unique."""
    inside = path.resolve().relative_to(path.resolve().anchor) if path.is_absolute() or ".." in path.parts else path
    return folder / inside.parent / (inside.name + suffix)
