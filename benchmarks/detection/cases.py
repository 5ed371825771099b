"""Pictures with known faces, and the count of found faces and false boxes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.domain import FaceBox
from benchmarks.detection.detectors import Detector
from tests.support.images import ASTRONAUT
from tests.support.portrait import FACE as ASTRONAUT_FACE
from tests.support.scenes import SAME_FACE, single_face_scene
from training.data.fer2013 import Split, load_fer2013

# uint8 (H, W) or, for a detector of colour images, uint8 (H, W, 3).
Image = npt.NDArray[np.uint8]
Reader = Callable[[bytes], Image]

_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_MIN_PART_PX = 100  # smallest side of a part of a photograph


@dataclass(frozen=True)
class LabelledFace:
    """A face that a person boxed.

    Attributes:
        box: Its box.
        roll_degrees: Roll of the eye line, positive clockwise.
        by_overlap: True if a box is right at an IoU of `SAME_FACE`, the rule of `photos.json`. False if the centre of a
            right box is within a third of the face's height of the face's centre, and its side is 0.5 to 2 times that
            height, the rule of `candid.json`.
    """

    box: FaceBox
    roll_degrees: float = 0.0
    by_overlap: bool = False

    def is_found_by(self, box: FaceBox) -> bool:
        """Return whether a detected box is right."""
        if self.by_overlap:
            return self.box.overlap(box) >= SAME_FACE
        height = self.box.height
        is_centred = math.dist(centre(self.box), centre(box)) <= height / 3
        return is_centred and height / 2 <= box.height <= height * 2


@dataclass(frozen=True)
class Case:
    """A picture with its faces.

    Attributes:
        name: File name.
        image: The picture.
        faces: Faces to find.
        optional: Places of other faces, for instance partial ones: a box with its centre there is neither right nor
            false.
    """

    name: str
    image: Image
    faces: tuple[LabelledFace, ...]
    optional: tuple[FaceBox, ...] = ()


@dataclass(frozen=True)
class Count:
    """Faces and boxes of a set of cases."""

    found: int = 0
    faces: int = 0
    false: int = 0
    pictures: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.found + other.found,
            self.faces + other.faces,
            self.false + other.false,
            self.pictures + other.pictures,
        )


def count(detector: Detector, cases: Iterable[Case]) -> Count:
    """Count the found faces and the false boxes of a detector."""
    return sum((count_boxes(case, [face.box for face in detector.detect(case.image)]) for case in cases), Count())


def count_boxes(case: Case, boxes: Sequence[FaceBox]) -> Count:
    """Count for one picture. A face makes one box right; a second box on the same face is false."""
    left = list(boxes)
    found = 0
    for face in case.faces:
        matching = [box for box in left if face.is_found_by(box)]
        if matching:
            found += 1
            left.remove(max(matching, key=face.box.overlap))
    false = sum(not shows_optional(case, box) for box in left)
    return Count(found, len(case.faces), false, 1)


def shows_optional(case: Case, box: FaceBox) -> bool:
    """Return whether a box is on a place of `Case.optional`."""
    return any(_contains(place, centre(box)) for place in case.optional)


def centre(box: FaceBox) -> tuple[float, float]:
    """Return the centre of a box."""
    return box.x + box.width / 2, box.y + box.height / 2


def _contains(box: FaceBox, point: tuple[float, float]) -> bool:
    return box.x <= point[0] <= box.x + box.width and box.y <= point[1] <= box.y + box.height


def photos(data: Path, read: Reader) -> list[Case]:
    """Return the photographs of `photos/photos.json`."""
    folder = data / "photos"
    document = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    return [
        Case(
            name,
            read((folder / name).read_bytes()),
            tuple(LabelledFace(FaceBox(*box), by_overlap=True) for box in boxes),
            tuple(FaceBox(*box) for box in document["partial"].get(name, ())),
        )
        for name, boxes in document["photos"].items()
    ]


def candid(data: Path, read: Reader) -> list[Case]:
    """Return the group photographs of `candid/candid.json`."""
    folder = data / "candid"
    document = json.loads((folder / "candid.json").read_text(encoding="utf-8"))
    return [
        Case(
            name,
            read((folder / name).read_bytes()),
            tuple(LabelledFace(FaceBox(*face["box"]), face["roll_degrees"]) for face in faces),
        )
        for name, faces in document["photos"].items()
    ]


def portrait(read: Reader) -> Case:
    """Return the portrait of the repository."""
    return Case(ASTRONAUT.name, read(ASTRONAUT.read_bytes()), (LabelledFace(ASTRONAUT_FACE),))


def canvases(archive: Path, faces_per_emotion: int, seed: int = 11) -> tuple[dict[str, list[Case]], dict[str, float]]:
    """Return 640x480 canvases with one PrivateTest face each, by emotion, and the share of each emotion."""
    split = load_fer2013(archive)[Split.PRIVATE_TEST]
    generator = np.random.default_rng(seed)
    cases: dict[str, list[Case]] = {}
    for code, label in enumerate(LABELS):
        chosen = generator.permutation(np.flatnonzero(split.labels == code))[:faces_per_emotion]
        scenes = [single_face_scene(split.images[index, :, :, 0], generator) for index in chosen]
        cases[label] = [Case(label, scene, (LabelledFace(box, by_overlap=True),)) for scene, box in scenes]
    return cases, {label: float(np.mean(split.labels == code)) for code, label in enumerate(LABELS)}


def parts_without_faces(cases: Sequence[Case]) -> Iterator[Case]:
    """Yield the parts of photographs above, below, left and right of all known faces."""
    for case in cases:
        known = [*(face.box for face in case.faces), *case.optional]
        if not known:
            continue
        # Hair and chin are outside some boxes, so half a box is left out on each side.
        left = min(box.x - box.width // 2 for box in known)
        top = min(box.y - box.height // 2 for box in known)
        right = max(box.x + box.width * 3 // 2 for box in known)
        bottom = max(box.y + box.height * 3 // 2 for box in known)
        image = case.image
        for part in (
            image[:, : max(left, 0)],
            image[:, right:],
            image[: max(top, 0), max(left, 0) : right],
            image[bottom:, max(left, 0) : right],
        ):
            if min(part.shape[:2]) >= _MIN_PART_PX:
                yield Case(case.name, np.ascontiguousarray(part), ())


def pictures_of(folder: Path, read: Reader) -> Iterator[Case]:
    """Yield every picture of a folder and of the folders in it, as pictures without a face."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _IMAGE_SUFFIXES and not path.is_symlink():
            yield Case(path.name, read(path.read_bytes()), ())
