"""Detection in dark and hazy photographs: `python -m benchmarks.light --data ../shared/data`.

Prints a Markdown table: faces found and false boxes on the photographs, by light, and the CPU time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.vision.detection import FaceDetector
from tests.support.photographs import Photograph, count_found, load_photographs

# Gain and offset of the grey levels.
LIGHTS = {
    "unchanged": (1.0, 0),
    "levels at 0.3": (0.3, 0),
    "levels at 0.2": (0.2, 0),
    "levels at 0.1": (0.1, 0),
    "levels at 0.06": (0.06, 0),
    "haze (contrast 0.1)": (0.1, 200),
}


def relit(image: GreyImage, gain: float, offset: float) -> GreyImage:
    """Return an image, uint8 (H, W), with changed grey levels."""
    return np.asarray(np.round(image * gain + offset).clip(0, 255), dtype=np.uint8)


def measure(detector: FaceDetector, photographs: Sequence[Photograph], gain: float, offset: float) -> str:
    """Return the cells of one row."""
    found, false, seconds = 0, 0, []
    for photograph in photographs:
        image = relit(photograph.grey, gain, offset)
        started = time.thread_time()
        boxes = [face.box for face in detector.detect(image)]
        seconds.append(time.thread_time() - started)
        counts = count_found(photograph, boxes)
        found, false = found + counts[0], false + counts[1]
    faces = sum(len(photograph.faces) for photograph in photographs)
    return f"{found}/{faces} | {false} | {statistics.median(seconds) * 1000:.1f}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with photos/")
    data: Path = parser.parse_args().data
    cv2.setNumThreads(1)
    detector, photographs = FaceDetector(), load_photographs(data / "photos")
    print("| light | faces found | false boxes | median ms |\n| --- | --- | --- | --- |")
    for name, (gain, offset) in LIGHTS.items():
        print(f"| {name} | {measure(detector, photographs, gain, offset)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
