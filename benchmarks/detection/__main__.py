"""Measure face detectors: `python -m benchmarks.detection --detector haar`. Prints a Markdown table.

A cell of a row "found, false boxes" names both. A share is the share of labelled faces that the detector finds, and the
number after it counts the false boxes: every box that is not the one box of a labelled face, with no exception except
the partial faces that the labels list. `haar` is the default detector of the service. Times are CPU time of one
thread, the best of three runs; the number in parentheses is the ratio to the last detector of the table (with
--against, the other checkout).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2

from app.vision.decode import decode_colour, decode_grey
from benchmarks.detection.cases import Case, Image
from benchmarks.detection.detectors import HAAR, NAMES, YUNET, Detector, detector_of_checkout, make_detector
from benchmarks.detection.figures import PARTS, Sets, load_sets, rows
from benchmarks.detection.speed import milliseconds, summary
from benchmarks.machine import cpu_kind
from tests.support.paths import SHARED_DATA

_MAX_PIXELS = 100_000_000


def main() -> int:
    """Print the table."""
    arguments = _parse_arguments()
    missing = [name for name in ("photos", "candid", "fer2013.zip") if not (arguments.data / name).exists()]
    if missing:
        print(f"--data must name a folder with {', '.join(missing)}. Received: {arguments.data}", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    detectors: dict[str, Detector] = {name: make_detector(name) for name in arguments.detector}
    if arguments.against is not None:
        detectors["before"] = detector_of_checkout(arguments.against)
    readers = {name: _read_colour if name == YUNET else _read_grey for name in detectors}
    loaded = {
        read: load_sets(arguments.data, arguments.negatives, arguments.faces, read) for read in set(readers.values())
    }
    sets = {name: loaded[read] for name, read in readers.items()}
    print(f"OpenCV {cv2.__version__}, CPU with {cpu_kind()}.\n", flush=True)
    print(f"| figure | {' | '.join(detectors)} |\n| --- |{' --- |' * len(detectors)}", flush=True)
    for same_row in zip(*(rows(each) for each in sets.values()), strict=True):
        name = same_row[0][0]
        if arguments.only in name:
            found = [cell(detector) for (_, cell), detector in zip(same_row, detectors.values(), strict=True)]
            print(f"| {name} | {' | '.join(found)} |", flush=True)
    for name, cells in _time_rows(detectors, sets) if arguments.only in "photos: ms, median" else ():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", action="append", choices=NAMES, help=f"can be repeated; default: {HAAR}")
    parser.add_argument("--against", type=Path, help="another checkout: its Haar detector is measured in the same run")
    parser.add_argument("--data", type=Path, default=SHARED_DATA, help="default: %(default)s")
    parser.add_argument("--negatives", type=Path, nargs="*", default=[], help="folders of pictures without a face")
    parser.add_argument("--faces", type=int, default=100, help="PrivateTest faces per emotion; default: %(default)s")
    parser.add_argument("--only", default="", help="measure only the rows whose name has this text")
    arguments = parser.parse_args()
    arguments.detector = arguments.detector or [HAAR]
    return arguments


def _read_grey(data: bytes) -> Image:
    return decode_grey(data, _MAX_PIXELS)


def _read_colour(data: bytes) -> Image:
    """Return the image in colour at its full size, because the labels are in its pixels; grey if it has no colour."""
    grey = decode_grey(data, _MAX_PIXELS)
    colour = decode_colour(data, grey, _MAX_PIXELS, _MAX_PIXELS)
    return grey if colour is None else colour


def _time_rows(detectors: Mapping[str, Detector], sets: Mapping[str, Sets]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the rows of times on the photographs and on the pictures without a face."""
    timed: dict[str, dict[str, list[Case]]] = {
        "photos": {name: list(each.photos) for name, each in sets.items()},
        "no face, parts of the photographs": {name: list(each.negatives[PARTS]()) for name, each in sets.items()},
    }
    for title, cases in timed.items():
        times = milliseconds(detectors, cases)
        reference = list(times.values())[-1]
        columns = [summary(values, reference) for values in times.values()]
        for cells in zip(*columns, strict=True):
            yield f"{title}: {cells[0][0]}", [cell for _, cell in cells]


if __name__ == "__main__":
    sys.exit(main())
