"""Compare the detector with searches of the whole image: `python -m benchmarks.whole_image`. Prints a Markdown table.

There are four test sets: the photographs with boxes checked by eye; group scenes of six small faces, compared with a
search at full size; scenes of two to four faces of mixed sizes, and scenes of one face, both compared with the common
slow search (640 px, step 1.1). Times are CPU time of one thread per image.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.domain import Detection, FaceBox
from app.vision.detection.cascades import HAAR_CASCADE
from app.vision.detection.detector import MIN_FACE_SHARE
from benchmarks.detection.detectors import HAAR, Detector, make_detector
from tests.support.paths import SHARED_DATA
from tests.support.photographs import Photograph, count_found, load_photographs
from tests.support.scenes import SAME_FACE, Grey, group_scene, mixed_scene, single_face_scene
from training.data.fer2013 import Split, load_fer2013

FULL_SIZE_PX = 100_000


class OnePass:
    """The usual detector: one search of the whole image, scaled to a bounded size, with one Haar cascade.

    Args:
        cascade: File name of a cascade of OpenCV.
        working_size_px: Largest long side of the searched image. Larger images are scaled down.
        scale_factor: Ratio between consecutive face sizes of the search.
        min_neighbors: Smallest number of overlapping hits per face.
        min_face_share: Smallest face side of the search, as a share of the image's long side.
    """

    def __init__(
        self,
        cascade: str = HAAR_CASCADE,
        working_size_px: int = 640,
        scale_factor: float = 1.1,
        min_neighbors: int = 3,
        min_face_share: float = 0.0,
    ) -> None:
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / cascade))
        self._working_size_px = working_size_px
        self._scale_factor = scale_factor
        self._min_neighbors = min_neighbors
        self._min_face_share = min_face_share

    def detect(self, grey: GreyImage) -> list[Detection]:
        """Return the faces of an image, uint8 (H, W)."""
        scale = min(1.0, self._working_size_px / max(grey.shape))
        searched = grey
        if scale < 1:
            searched = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        min_face_px = max(20, round(max(searched.shape) * self._min_face_share))
        boxes, _, weights = self._cascade.detectMultiScale3(
            searched, self._scale_factor, self._min_neighbors, minSize=(min_face_px,) * 2, outputRejectLevels=True
        )
        return [
            Detection(FaceBox(*(round(value / scale) for value in box)), float(weight))
            for box, weight in zip(boxes, weights, strict=True)
        ]


Scene = tuple[Grey, list[FaceBox]]


@dataclass(frozen=True)
class Scenes:
    """Generated scenes with faces of PublicTest, and the boxes of the faces."""

    groups: list[Scene]
    mixed: list[Scene]
    singles: list[Scene]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--groups", type=int, default=30, help="number of group scenes of six faces")
    parser.add_argument("--mixed", type=int, default=60, help="number of scenes of two to four faces")
    parser.add_argument("--singles", type=int, default=100, help="number of scenes of one face")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--service-only", action="store_true", help="only the detector of the service")
    arguments = parser.parse_args()
    if not (arguments.data / "fer2013.zip").exists():
        print(
            f"{arguments.data} has no fer2013.zip; name the folder of the data with --data",
            file=sys.stderr,
        )
        return 2
    cv2.setNumThreads(1)
    photographs = load_photographs(arguments.data / "photos")
    scenes = make_scenes(arguments.data / "fer2013.zip", arguments.groups, arguments.mixed, arguments.singles)
    lines = [
        f"Photographs: {len(photographs)} with {sum(len(photo.faces) for photo in photographs)} faces. Group scenes:"
        f" {len(scenes.groups)} of six faces. Mixed scenes: {len(scenes.mixed)}. Single faces: {len(scenes.singles)}."
        f" OpenCV {cv2.__version__}.",
        "",
        "| detector | photo faces found | false boxes | groups: share of full size | mixed: share of 640/1.1"
        " | singles: share of 640/1.1 | false boxes in scenes | photo ms median | p95 | group ms median |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    references = Scenes(
        _references(OnePass(working_size_px=FULL_SIZE_PX), scenes.groups),
        _references(OnePass(), scenes.mixed),
        _references(OnePass(), scenes.singles),
    )
    for name, detector in detectors(arguments.service_only):
        lines.append(f"| {name} | {measure(detector, photographs, scenes, references)} |")
        print(lines[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def detectors(service_only: bool) -> Iterator[tuple[str, Detector]]:
    """Yield the name and the detector of every row. The last is the detector of the service."""
    if not service_only:
        for name in ("default", "alt", "alt_tree"):
            yield f"{name}, 640 px, step 1.1", OnePass(f"haarcascade_frontalface_{name}.xml")
        for working_px, step in ((240, 1.3), (320, 1.2), (640, 1.2), (640, 1.1)):
            yield f"alt2, {working_px} px, step {step}", OnePass(HAAR_CASCADE, working_px, step)
        share = MIN_FACE_SHARE
        yield f"alt2, 1280 px, step 1.1, from {share:.2%}", OnePass(working_size_px=1280, min_face_share=share)
    yield "**the service**", make_detector(HAAR)


def make_scenes(archive: Path, groups: int, mixed: int, singles: int, seed: int = 7) -> Scenes:
    """Return scenes with PublicTest faces. The same seed gives the same scenes."""
    generator = np.random.default_rng(seed)
    faces = load_fer2013(archive)[Split.PUBLIC_TEST].images[:, :, :, 0]

    def chosen(count: int) -> list[Grey]:
        return list(faces[generator.choice(len(faces), count, replace=False)])

    return Scenes(
        [group_scene(chosen(6), generator) for _ in range(groups)],
        [mixed_scene(chosen(int(generator.integers(2, 5))), generator) for _ in range(mixed)],
        [(scene, [box]) for scene, box in (single_face_scene(chosen(1)[0], generator) for _ in range(singles))],
    )


def hits(detector: Detector, scene: Grey, boxes: Sequence[FaceBox]) -> tuple[list[bool], int]:
    """Return for each face of a scene whether the detector finds it, and the number of false boxes."""
    found = [detection.box for detection in detector.detect(scene)]
    return (
        [any(box.overlap(candidate) >= SAME_FACE for candidate in found) for box in boxes],
        sum(all(box.overlap(candidate) < SAME_FACE for box in boxes) for candidate in found),
    )


def kept_share(detector: Detector, scenes: Sequence[Scene], reference: Sequence[Scene]) -> tuple[int, int, int]:
    """Compare a detector with a reference.

    Args:
        detector: The detector.
        scenes: Scenes with all their faces.
        reference: The same scenes with the faces that the reference finds.

    Returns:
        The number of the reference's faces that the detector finds, of other faces that it finds, and of false boxes.
    """
    kept = added = false = 0
    for (scene, boxes), (_, known) in zip(scenes, reference, strict=True):
        found, surplus = hits(detector, scene, boxes)
        kept += sum(now and box in known for now, box in zip(found, boxes, strict=True))
        added += sum(now and box not in known for now, box in zip(found, boxes, strict=True))
        false += surplus
    return kept, added, false


def measure(detector: Detector, photographs: Sequence[Photograph], scenes: Scenes, references: Scenes) -> str:
    """Return the table cells of one detector."""
    found = false = 0
    photo_ms = []
    for photograph in photographs:
        milliseconds, detections = _timed(detector, photograph.grey)
        photo_ms.append(milliseconds)
        photo_found, photo_false = count_found(photograph, [detection.box for detection in detections])
        found, false = found + photo_found, false + photo_false
    shares, scene_false = [], 0
    for scene_set, reference in (
        (scenes.groups, references.groups),
        (scenes.mixed, references.mixed),
        (scenes.singles, references.singles),
    ):
        kept, added, surplus = kept_share(detector, scene_set, reference)
        wanted = sum(len(known) for _, known in reference)
        shares.append(f"{kept}/{wanted} ({kept / wanted:.1%}), {added} more")
        scene_false += surplus
    group_ms = [_timed(detector, scene)[0] for scene, _ in scenes.groups]
    total = sum(len(photograph.faces) for photograph in photographs)
    return (
        f"{found}/{total} | {false} | {' | '.join(shares)} | {scene_false} | {np.median(photo_ms):.1f}"
        f" | {np.percentile(photo_ms, 95):.1f} | {np.median(group_ms):.1f}"
    )


def _references(detector: Detector, scenes: Sequence[Scene]) -> list[Scene]:
    """Return the scenes with only the faces that a detector finds."""
    return [
        (scene, [box for box, found in zip(boxes, hits(detector, scene, boxes)[0], strict=True) if found])
        for scene, boxes in scenes
    ]


def _timed(detector: Detector, grey: Grey) -> tuple[float, list[Detection]]:
    """Return the CPU time of this thread in milliseconds, the best of three runs, and the detections."""
    runs = []
    for _ in range(3):
        started = time.thread_time()
        detections = detector.detect(grey)
        runs.append((time.thread_time() - started) * 1000)
    return min(runs), detections


if __name__ == "__main__":
    sys.exit(main())
