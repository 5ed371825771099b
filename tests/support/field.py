"""The files of `../shared/field/images` and what must happen to each, as their README asks."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY

FIELD_IMAGES = Path(os.environ.get("TEST_FIELD_DIR", REPOSITORY.parent / "shared" / "field")) / "images"
needs_field_images = pytest.mark.skipif(
    not FIELD_IMAGES.is_dir(), reason=f"there are no field images in {FIELD_IMAGES}; set TEST_FIELD_DIR to their folder"
)

HAPPY = "one face, happy"
ONE = "one face"
TRUNCATED = "one face, `truncated`"
_WANTED = {
    "ok-astronaut.jpg": HAPPY,
    "tilt*.jpg": HAPPY,
    "dark-levels-*.jpg": HAPPY,
    "haze-*.jpg": HAPPY,
    "dark-crop-*.png": "happy",
    "avatar-40.jpg": "a face or the hint",
    "avatar-*.jpg": ONE,
    "gallery-7x7.jpg": "at least 45 faces",
    "long-screenshot.jpg": "four faces",
    "false-face-*.png": "no face",
    "phone-48mp.jpg": ONE,
    "photo.heic": HAPPY,
    "photo.avif": HAPPY,
    "photo.jxl": "415 that names JPEG XL",
    "photo.jp2": "415 that names JPEG 2000",
    "no-eoi*.jpg": TRUNCATED,
    "cut-*.jpg": TRUNCATED,
    "*": ONE,
}


@dataclass(frozen=True)
class FieldCase:
    """One file.

    Attributes:
        path: The file.
        wanted: What must happen.
    """

    path: Path
    wanted: str

    @property
    def query(self) -> str:
        """Query of the request."""
        return "?detect=false" if self.path.name.startswith("dark-crop") else ""

    def is_met(self, status: int, answer: dict[str, Any]) -> bool:
        """Return whether an answer is as wanted."""
        if self.wanted.startswith("415"):
            return status == 415 and self.wanted.rpartition("names ")[2] in answer["detail"]
        if status != 200:
            return False
        faces, warnings = answer["faces"], answer["warnings"]
        counts = {"no face": (0, 0), "four faces": (4, 4), "at least 45 faces": (45, 49)}
        if self.wanted in counts:
            least, most = counts[self.wanted]
            return least <= len(faces) <= most
        if self.wanted == "a face or the hint":
            return len(faces) == 1 or "small_image" in warnings
        is_one = len(faces) == 1 and ("truncated" in warnings) == (self.wanted == TRUNCATED)
        return is_one and ("happy" not in self.wanted or answer["emotion"] == "happy")


def field_cases() -> Iterator[FieldCase]:
    """Yield all files, by name."""
    for path in sorted(FIELD_IMAGES.glob("*")):
        wanted = next(wanted for pattern, wanted in _WANTED.items() if fnmatch.fnmatch(path.name, pattern))
        yield FieldCase(path, wanted)


def describe(status: int, answer: dict[str, Any]) -> str:
    """Return an answer in a few words."""
    if status != 200:
        return f"{status} {answer['code']}"
    faces = answer["faces"]
    count = {0: "no face", 1: "one face"}.get(len(faces), f"{len(faces)} faces")
    emotion = f", {answer['emotion']} {answer['confidence']:.2f}" if faces else ""
    warnings = "".join(f", `{each}`" for each in answer["warnings"] if each != "no_face_detected")
    return count + emotion + warnings
