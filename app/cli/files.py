"""Which files a command line means. Reads folders; opens no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

# What `app.vision.decode` reads. In folders only these are taken; a file that is named itself always is.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def find_images(places: Iterable[Path]) -> Iterator[Path]:
    """The files named, and the image files below the folders named: each once, folders in order of their paths.

    Raises:
        FileNotFoundError: A place does not exist; its `filename` says which.
    """
    seen: set[Path] = set()
    for place in places:
        if place.is_dir():
            found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        elif place.exists():
            found = [place]
        else:
            raise FileNotFoundError(2, "there is no such file or folder", str(place))
        yield from (path for path in found if path not in seen)
        seen.update(found)
