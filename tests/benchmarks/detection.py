"""Measures cascades and their parameters: `python -m tests.benchmarks.detection`. Prints a Markdown table.

Three judges: the photographs with boxes checked by eye; group scenes of six small faces, against the same cascade at
full size; single enlarged faces. Times are of one thread on an idle core, per photograph.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.domain import FaceBox, overlap
from app.vision.detect import CASCADE, MIN_FACE_SHARE, MIN_NEIGHBORS, SCALE_FACTOR, WORKING_SIZE_PX, FaceDetector
from tests.photographs import Photograph, count_found, load_photographs
from tests.scenes import SAME_FACE, Grey, group_scene, single_face_scene
from training.data import Split, load_fer2013

FULL_SIZE_PX = 100_000


@dataclass(frozen=True)
class Scenes:
    """Generated scenes with the boxes of their faces."""

    groups: list[tuple[Grey, list[FaceBox]]]
    singles: list[tuple[Grey, FaceBox]]


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--groups", type=int, default=30, help="group scenes of six faces")
    parser.add_argument("--singles", type=int, default=100)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--chosen-only", action="store_true", help="only the settings of the service")
    arguments = parser.parse_args()
    if not (arguments.data / "fer2013.zip").exists():
        print(f"expected fer2013.zip and photos/ in {arguments.data}: name the folder with --data", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    photographs = load_photographs(arguments.data / "photos")
    scenes = make_scenes(arguments.data / "fer2013.zip", arguments.groups, arguments.singles)
    lines = [
        f"Photographs: {len(photographs)} with {sum(len(photo.faces) for photo in photographs)} faces."
        f" Group scenes: {len(scenes.groups)} of six faces. Single faces: {len(scenes.singles)}."
        f" OpenCV {cv2.__version__}.",
        "",
        "| cascade | long side | step | neighbours | min face | photo faces found | false boxes"
        " | groups: share of full size | groups: false boxes | singles found | ms median | ms p95 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    full_size: dict[tuple[str, int], list[list[bool]]] = {}
    for cascade, working, step, neighbors, min_share in grid(arguments.chosen_only):
        reference = (cascade, neighbors)
        if reference not in full_size:
            detector = FaceDetector(cascade, FULL_SIZE_PX, 1.1, neighbors, 0)
            full_size[reference] = [hits(detector, scene, boxes)[0] for scene, boxes in scenes.groups]
        detector = FaceDetector(cascade, working, step, neighbors, min_share)
        row = measure(detector, photographs, scenes, full_size[reference])
        name = cascade.removeprefix("haarcascade_frontalface_").removesuffix(".xml")
        lines.append(f"| {name} | {working} | {step} | {neighbors} | {min_share:.1%} | {row} |")
        print(lines[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def grid(chosen_only: bool) -> Iterable[tuple[str, int, float, int, float]]:
    """The settings to compare; the service's own come last."""
    if not chosen_only:
        for name in ("default", "alt", "alt_tree"):
            yield f"haarcascade_frontalface_{name}.xml", 640, 1.1, 3, MIN_FACE_SHARE
        for working in (320, 640, 960):
            for step in (1.1, 1.2):
                yield CASCADE, working, step, 3, MIN_FACE_SHARE
        yield CASCADE, 1280, 1.2, 3, MIN_FACE_SHARE
        for neighbors in (2, 4):
            yield CASCADE, 1280, 1.1, neighbors, MIN_FACE_SHARE
    yield CASCADE, WORKING_SIZE_PX, SCALE_FACTOR, MIN_NEIGHBORS, MIN_FACE_SHARE


def make_scenes(archive: Path, groups: int, singles: int, seed: int = 7) -> Scenes:
    """Scenes of PrivateTest faces, the same for the same seed."""
    generator = np.random.default_rng(seed)
    faces = load_fer2013(archive)[Split.PRIVATE_TEST].images[:, :, :, 0]
    chosen = faces[generator.permutation(len(faces))[: groups * 6 + singles]]
    return Scenes(
        [group_scene(list(chosen[index * 6 : index * 6 + 6]), generator) for index in range(groups)],
        [single_face_scene(face, generator) for face in chosen[groups * 6 :]],
    )


def hits(detector: FaceDetector, scene: Grey, boxes: Sequence[FaceBox]) -> tuple[list[bool], int]:
    """Which faces of a scene are found, and how many detections are none of them."""
    found = [detection.box for detection in detector.detect(scene)]
    return (
        [any(overlap(box, candidate) >= SAME_FACE for candidate in found) for box in boxes],
        sum(all(overlap(box, candidate) < SAME_FACE for box in boxes) for candidate in found),
    )


def measure(
    detector: FaceDetector, photographs: Sequence[Photograph], scenes: Scenes, full_size: Sequence[Sequence[bool]]
) -> str:
    """The table's cells of one detector."""
    found = false = 0
    times_ms = []
    for photograph in photographs:
        runs = []
        for _ in range(3):
            started = time.perf_counter()
            detections = detector.detect(photograph.grey)
            runs.append((time.perf_counter() - started) * 1000)
        times_ms.append(min(runs))
        photo_found, photo_false = count_found(photograph, [detection.box for detection in detections])
        found, false = found + photo_found, false + photo_false
    group_results = [hits(detector, scene, boxes) for scene, boxes in scenes.groups]
    wanted = sum(sum(row) for row in full_size)
    kept = sum(
        now and before
        for (now_row, _), before_row in zip(group_results, full_size, strict=True)
        for now, before in zip(now_row, before_row, strict=True)
    )
    singles = sum(hits(detector, scene, [box])[0][0] for scene, box in scenes.singles)
    total = sum(len(photograph.faces) for photograph in photographs)
    return (
        f"{found}/{total} | {false} | {kept}/{wanted} ({kept / wanted:.1%})"
        f" | {sum(extra for _, extra in group_results)} | {singles / len(scenes.singles):.0%}"
        f" | {np.median(times_ms):.0f} | {np.percentile(times_ms, 95):.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
