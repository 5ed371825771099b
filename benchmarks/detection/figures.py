"""The rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from app.contract.labels import LABELS
from benchmarks.detection import changes
from benchmarks.detection.cases import (
    Case,
    Count,
    Reader,
    candid,
    canvases,
    count,
    parts_without_faces,
    photos,
    pictures_of,
    portrait,
)
from benchmarks.detection.detectors import Detector

ROLLS_DEGREES = (0, 10, 15, 20, 30, 45, 90)
LEVELS = (0.3, 0.2, 0.15, 0.1, 0.06)
EXPOSURES = (0.02, 0.01)
PARTS = "parts of the photographs"
HAZE = (0.1, 200.0)  # gain and offset of the levels
PICTURE_SIDES_PX = (48, 64, 80, 100, 128)

# A row: its name, and a function that measures one detector and returns the cell.
Row = tuple[str, Callable[[Detector], str]]


@dataclass(frozen=True)
class Sets:
    """The pictures of one run, read for one kind of detector.

    Attributes:
        photos: Portraits, and three photographs with several faces.
        candid: Group photographs.
        portrait: The portrait of the repository.
        canvases: Returns canvases with one PrivateTest face by emotion, and the share of each emotion in PrivateTest.
        negatives: Names of sources of pictures without a face, and their pictures.
    """

    photos: Sequence[Case]
    candid: Sequence[Case]
    portrait: Case
    canvases: Callable[[], tuple[dict[str, list[Case]], dict[str, float]]]
    negatives: Mapping[str, Callable[[], Iterable[Case]]]


def load_sets(data: Path, negatives: Sequence[Path], faces_per_emotion: int, read: Reader) -> Sets:
    """Load the pictures.

    Args:
        data: Folder with photos/, candid/ and fer2013.zip.
        negatives: Folders of pictures without a face.
        faces_per_emotion: Number of PrivateTest faces of each emotion.
        read: Decodes a file for the detector.
    """
    portraits, groups = photos(data, read), candid(data, read)
    sources: dict[str, Callable[[], Iterable[Case]]] = {PARTS: partial(parts_without_faces, [*portraits, *groups])}
    for folder in negatives:
        sources[folder.name] = partial(pictures_of, folder, read)
    return Sets(
        portraits,
        groups,
        portrait(read),
        cache(lambda: canvases(data / "fer2013.zip", faces_per_emotion)),
        sources,
    )


def rows(sets: Sets) -> Iterator[Row]:
    """Yield the rows of faces and boxes."""
    yield "photos: found, false boxes", lambda detector: _found_and_false(count(detector, sets.photos))
    yield "candid: found, false boxes", lambda detector: _found_and_false(count(detector, sets.candid))
    for name, cases in _changed([*sets.photos, sets.portrait], sets.candid):
        yield name, partial(_share_and_false, cases)
    for by_overlap, name in ((True, "canvas"), (False, "canvas, by the centre")):
        for label in LABELS:
            yield f"{name}, {label}", partial(_share_and_false, partial(_canvases_of, sets, label, by_overlap))
        yield f"{name}, mean weighted by share", partial(_weighted_share, sets, by_overlap)
    for name, cases in sets.negatives.items():
        yield f"no face, {name}", partial(_false, cases)


def _changed(portraits: Sequence[Case], groups: Sequence[Case]) -> Iterator[tuple[str, Callable[[], Iterable[Case]]]]:
    labelled = [*portraits, *groups]
    for roll in ROLLS_DEGREES:
        yield f"roll {roll} degrees, photos", partial(_turned_both_ways, portraits, roll)
    for roll in ROLLS_DEGREES:
        yield f"roll {roll} degrees, candid", partial(_turned_both_ways, groups, roll)
    for gain in LEVELS:
        yield f"levels {gain}", partial(changes.with_levels, labelled, gain)
    yield "haze (contrast 0.1)", partial(changes.with_levels, labelled, *HAZE)
    for exposure in EXPOSURES:
        yield f"exposure {exposure}", partial(changes.exposed, labelled, exposure)
    for side_px in PICTURE_SIDES_PX:
        yield f"picture of {side_px} px", partial(changes.avatars, labelled, side_px)
    yield "long screenshot, four portraits", partial(changes.long_pictures, portraits, is_wide=False)
    yield "panorama, four portraits", partial(changes.long_pictures, portraits, is_wide=True)
    yield "gallery of 49 portraits", partial(changes.galleries, portraits)


def _turned_both_ways(cases: Sequence[Case], roll: float) -> Iterator[Case]:
    for degrees in {roll, -roll}:
        yield from changes.turned(cases, degrees)


def _canvases_of(sets: Sets, label: str, by_overlap: bool) -> list[Case]:
    """Return the canvases of an emotion, with the rule for a right box of `photos.json` or of `candid.json`."""
    return [
        replace(case, faces=tuple(replace(face, by_overlap=by_overlap) for face in case.faces))
        for case in sets.canvases()[0][label]
    ]


def _found_and_false(result: Count) -> str:
    return f"{result.found}/{result.faces}, {result.false}"


def _share_and_false(cases: Callable[[], Iterable[Case]], detector: Detector) -> str:
    result = count(detector, cases())
    return f"{result.found / result.faces:.1%} of {result.faces}, {result.false}"


def _false(cases: Callable[[], Iterable[Case]], detector: Detector) -> str:
    result = count(detector, cases())
    return f"{result.false} in {result.pictures}"


def _weighted_share(sets: Sets, by_overlap: bool, detector: Detector) -> str:
    _, shares = sets.canvases()
    results = {label: count(detector, _canvases_of(sets, label, by_overlap)) for label in shares}
    share = sum(shares[label] * result.found / result.faces for label, result in results.items())
    return f"{share:.1%}"
