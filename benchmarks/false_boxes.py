"""False boxes on pictures without faces: `python -m benchmarks.false_boxes FOLDER...`.

Prints a Markdown table: boxes of the service, with the smallest confidence that a request may ask for. The pictures are
named in docs/detection.md. Pictures whose path contains a text of `--exclude` (portraits, statues) are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from app.config import Settings
from app.contract.preprocess import GreyImage
from app.main import load_detector
from app.vision.detection.pyramid import resized
from training.verifier.config import load_verifier_config

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_LONG_SIDE_PX = 1600
_CONFIDENCES = (0.45, 0.5, 0.7, 0.9)
CONFIG = Path("training/configs/verifier/face_verifier.toml")


def pictures(folders: list[Path], excluded: tuple[str, ...]) -> Iterator[tuple[str, GreyImage]]:
    """Yield the path and the grey levels of each picture of at least 64 px."""
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES or any(text in str(path) for text in excluded):
            continue
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is not None and min(grey.shape) >= 64:
            picture = np.asarray(grey, dtype=np.uint8)
            yield str(path), resized(picture, min(1.0, _LONG_SIDE_PX / max(grey.shape)))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--exclude", action="append", default=[], metavar="TEXT", help="besides those of the config")
    arguments = parser.parse_args()
    excluded = (*load_verifier_config(CONFIG).excluded_pictures, *arguments.exclude)
    cv2.setNumThreads(1)
    detector = load_detector(Settings())
    count = 0
    confidences: list[float] = []
    for name, grey in pictures(arguments.folders, excluded):
        count += 1
        found = detector.detect(grey)
        confidences += [face.confidence for face in found]
        for face in found:
            print(f"<!-- {name}: {face.box}, {face.confidence:.3f} -->", flush=True)
    print(f"{count} pictures.\n\n| `min_detection_confidence` | false boxes |\n| ---: | ---: |")
    for minimum in _CONFIDENCES:
        print(f"| {minimum} | {sum(value >= minimum for value in confidences)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
