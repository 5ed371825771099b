"""Boxes that the face verifier judges, and how many of them show a face: `python -m benchmarks.judged_boxes FOLDER...`.

Prints Markdown tables. The share of faces is the `face_prior` of the verifier's calibration. The second table compares
the mean probability of a box with the share of boxes that show a face. The photographs are `photos` and `candid` of
`--data`; boxes on their partial faces do not count. The folders hold pictures without a face, named in
docs/detection.md. One face can have several boxes, because the verifier judges a place in several passes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from app.config import Settings
from app.domain import Detection
from app.main import load_detector
from app.vision.decode import decode_grey
from app.vision.detection import acceptance
from app.vision.detection.detector import FaceDetector
from benchmarks.detection.cases import Case, candid, photos, shows_optional
from benchmarks.false_boxes import CONFIG, pictures
from tests.support.paths import SHARED_DATA
from training.verifier.config import load_verifier_config

_BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)

# Probability of a box, and whether it shows a face.
Judgements = list[tuple[float, bool]]


def judgements(detector: FaceDetector, cases: Iterable[Case]) -> Judgements:
    """Return what the verifier says of every box that it judges in some pictures."""
    judged: list[Detection] = []

    def recording(*arguments: Any) -> list[tuple[int, Detection]]:
        found = judge(*arguments)
        judged.extend(face for _, face in found)
        return found

    results: Judgements = []
    judge = acceptance.judge
    with patch.object(acceptance, "judge", recording):
        for case in cases:
            judged.clear()
            detector.detect(case.image)
            results += [
                (face.confidence, any(known.is_found_by(face.box) for known in case.faces))
                for face in judged
                if not shows_optional(case, face.box)
            ]
    return results


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=SHARED_DATA, help="folder with photos and candid")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    detector = load_detector(Settings(detector="haar"))
    assert isinstance(detector, FaceDetector)
    excluded = load_verifier_config(CONFIG).excluded_pictures

    def read(content: bytes) -> Any:
        return decode_grey(content, 100_000_000)

    sets: dict[str, Iterable[Case]] = {
        "photographs": [*photos(arguments.data, read), *candid(arguments.data, read)],
        "pictures without a face": (Case(name, grey, ()) for name, grey in pictures(arguments.folders, excluded)),
    }
    everything: Judgements = []
    print("| pictures | boxes | that show a face |\n| --- | ---: | ---: |")
    for name, cases in sets.items():
        results = judgements(detector, cases)
        everything += results
        _print_row(name, results)
    _print_row("all", everything)
    print("\n| probability | boxes | mean probability | that show a face |\n| --- | ---: | ---: | ---: |")
    for low, high in pairwise(_BINS):
        inside = [result for result in everything if low <= result[0] < high or result[0] == high == 1]
        if inside:
            mean, faces = np.mean(inside, axis=0)
            print(f"| {low:g} to {high:g} | {len(inside)} | {mean:.2f} | {faces:.0%} |")
    return 0


def _print_row(name: str, results: Judgements) -> None:
    faces = sum(shows_face for _, shows_face in results)
    print(f"| {name} | {len(results)} | {faces} ({faces / max(1, len(results)):.0%}) |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
