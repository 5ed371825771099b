"""The photographs beside the repository with their face boxes, and what counts as found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain import FaceBox
from app.vision.decode import decode_grey
from tests.support.scenes import SAME_FACE, Grey

# photos.json: this one "has two more faces that are cut off or turned; finding them is no error".
EXTRA_FACES = {"selfie-many-people.jpg": 2}


@dataclass(frozen=True)
class Photograph:
    """One photograph, decoded, with the boxes of its frontal faces."""

    path: Path
    grey: Grey
    faces: tuple[FaceBox, ...]


def load_photographs(folder: Path) -> list[Photograph]:
    """All photographs of `photos.json`, in its order."""
    listed = json.loads((folder / "photos.json").read_text(encoding="utf-8"))["photos"]
    return [
        Photograph(
            folder / name,
            decode_grey((folder / name).read_bytes(), max_pixels=100_000_000),
            tuple(FaceBox(*box) for box in boxes),
        )
        for name, boxes in listed.items()
    ]


def count_found(photograph: Photograph, boxes: Sequence[FaceBox]) -> tuple[int, int]:
    """How many of its faces are found, and how many boxes are false."""
    found = sum(any(face.overlap(box) >= SAME_FACE for box in boxes) for face in photograph.faces)
    surplus = sum(all(face.overlap(box) < SAME_FACE for face in photograph.faces) for box in boxes)
    return found, max(0, surplus - EXTRA_FACES.get(photograph.path.name, 0))
