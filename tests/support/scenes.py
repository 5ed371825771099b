"""Scenes: FER2013 faces pasted at known places, as ground truth for detection and end-to-end tests.

The faces come from the dataset beside the repository. No scene is written to disk.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from app.domain import FaceBox

Grey = npt.NDArray[np.uint8]

SAME_FACE = 0.5  # smallest IoU of a detection with its face; photos.json has the same rule


def canvas(height: int, width: int, kind: str, generator: np.random.Generator) -> Grey:
    """Return a background without faces, uint8 (height, width).

    Args:
        height: Height in pixels.
        width: Width in pixels.
        kind: `plain`, `gradient` or `noise` (blurred, like a room out of focus).
        generator: Source of the grey levels.
    """
    if kind == "plain":
        return np.full((height, width), generator.integers(60, 200), dtype=np.uint8)
    if kind == "gradient":
        corners = generator.integers(40, 220, size=(2, 2)).astype(np.float32)
    else:
        corners = generator.integers(40, 220, size=(height // 40, width // 40)).astype(np.float32)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255), dtype=np.uint8)


def single_face_scene(face: Grey, generator: np.random.Generator) -> tuple[Grey, FaceBox]:
    """Return a 640x480 scene with one face, 200 to 400 px wide, and its box. The face is uint8 (48, 48)."""
    scene = canvas(480, 640, str(generator.choice(["plain", "gradient", "noise"])), generator)
    side = int(generator.integers(200, 401))
    box = FaceBox(int(generator.integers(0, 640 - side + 1)), int(generator.integers(0, 480 - side + 1)), side, side)
    paste(scene, face, box)
    return scene, box


def group_scene(faces: Sequence[Grey], generator: np.random.Generator) -> tuple[Grey, list[FaceBox]]:
    """Return a 1280x960 scene with up to twelve faces, 60 to 100 px wide, and their boxes."""
    scene = canvas(960, 1280, str(generator.choice(["plain", "gradient", "noise"])), generator)
    cells = generator.permutation(12)[: len(faces)]
    boxes = []
    for face, cell in zip(faces, cells, strict=True):
        side = int(generator.integers(60, 101))
        left = int(cell % 4) * 320 + int(generator.integers(0, 320 - side + 1))
        top = int(cell // 4) * 320 + int(generator.integers(0, 320 - side + 1))
        boxes.append(FaceBox(left, top, side, side))
        paste(scene, face, boxes[-1])
    return scene, boxes


def mixed_scene(faces: Sequence[Grey], generator: np.random.Generator) -> tuple[Grey, list[FaceBox]]:
    """Return a scene with two to four faces of mixed sizes, and their boxes.

    The scene has 640x480 or 1024x768 pixels. The largest face has 25 to 42 % of the width, and no face is smaller than
    a third of the largest.
    """
    width, height = (640, 480) if generator.random() < 0.5 else (1024, 768)
    scene = canvas(height, width, str(generator.choice(["plain", "gradient", "noise"])), generator)
    largest = width * generator.uniform(0.25, 0.42)
    shares = [1.0, *generator.uniform(0.36, 1, size=len(faces) - 1)]
    boxes = []
    for face, share, quarter in zip(faces, shares, generator.permutation(4), strict=False):
        side = int(min(largest * share, height / 2 - 2))
        left = int(quarter % 2) * width // 2 + int(generator.integers(0, width // 2 - side))
        top = int(quarter // 2) * height // 2 + int(generator.integers(0, height // 2 - side))
        boxes.append(FaceBox(left, top, side, side))
        paste(scene, face, boxes[-1])
    return scene, boxes


def paste(scene: Grey, face: Grey, box: FaceBox) -> None:
    """Paste an enlarged face into a scene, in place."""
    enlarged = cv2.resize(face, (box.width, box.height), interpolation=cv2.INTER_CUBIC)
    scene[box.y : box.y + box.height, box.x : box.x + box.width] = enlarged
