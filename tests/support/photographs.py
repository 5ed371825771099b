"""The photographs beside the repository with their face boxes, and the count of found faces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain import FaceBox
from app.vision.decode import decode_grey
from tests.support.scenes import SAME_FACE, Grey


@dataclass(frozen=True)
class Photograph:
    """One decoded photograph.

    Attributes:
        path: The file.
        grey: uint8 (H, W).
        faces: Frontal faces, which a detector must find.
        partial_faces: Faces that are cut off or strongly turned; finding them is optional.
    """

    path: Path
    grey: Grey
    faces: tuple[FaceBox, ...]
    partial_faces: tuple[FaceBox, ...] = ()


def load_photographs(folder: Path) -> list[Photograph]:
    """Return all photographs of `photos.json`, in its order."""
    document = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    partial = document.get("partial", {})
    return [
        Photograph(
            folder / name,
            decode_grey((folder / name).read_bytes(), max_pixels=100_000_000),
            tuple(FaceBox(*box) for box in boxes),
            tuple(FaceBox(*box) for box in partial.get(name, ())),
        )
        for name, boxes in document["photos"].items()
    ]


def count_found(photograph: Photograph, boxes: Sequence[FaceBox]) -> tuple[int, int]:
    """Return how many of the photograph's faces are found, and how many boxes are false.

    A box is right if its IoU with a face is at least `SAME_FACE`, and neither right nor false if its centre is inside a
    partial face.
    """
    found = sum(any(face.overlap(box) >= SAME_FACE for box in boxes) for face in photograph.faces)
    false = sum(
        all(face.overlap(box) < SAME_FACE for face in photograph.faces)
        and not any(_contains_centre(partial, box) for partial in photograph.partial_faces)
        for box in boxes
    )
    return found, false


def _contains_centre(outer: FaceBox, box: FaceBox) -> bool:
    x, y = box.x + box.width / 2, box.y + box.height / 2
    return outer.x <= x <= outer.x + outer.width and outer.y <= y <= outer.y + outer.height
