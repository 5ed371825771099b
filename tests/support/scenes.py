"""Photo-sized canvases with FER2013 faces set on them at known places: ground truth for detection and end-to-end tests.

The faces come from the dataset beside the repository and stay in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from app.domain import FaceBox

Grey = npt.NDArray[np.uint8]

SAME_FACE = 0.5  # overlap (IoU) at which a detection is the face: photos.json's rule, used for scenes too


def canvas(height: int, width: int, kind: str, generator: np.random.Generator) -> Grey:
    """A background without faces: `plain`, `gradient` or `noise` (blurred, like an out-of-focus room)."""
    if kind == "plain":
        return np.full((height, width), generator.integers(60, 200), dtype=np.uint8)
    if kind == "gradient":
        corners = generator.integers(40, 220, size=(2, 2)).astype(np.float32)
    else:
        corners = generator.integers(40, 220, size=(height // 40, width // 40)).astype(np.float32)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255), dtype=np.uint8)


def single_face_scene(face: Grey, generator: np.random.Generator) -> tuple[Grey, FaceBox]:
    """One face (48, 48) enlarged to 200 to 400 px on a 640x480 canvas, with its box."""
    scene = canvas(480, 640, str(generator.choice(["plain", "gradient", "noise"])), generator)
    side = int(generator.integers(200, 401))
    box = FaceBox(int(generator.integers(0, 640 - side + 1)), int(generator.integers(0, 480 - side + 1)), side, side)
    paste(scene, face, box)
    return scene, box


def group_scene(faces: Sequence[Grey], generator: np.random.Generator) -> tuple[Grey, list[FaceBox]]:
    """Up to twelve faces (48, 48), enlarged to 60 to 100 px and scattered on a 1280x960 canvas, with their boxes."""
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
    """Two to four faces (48, 48) of which none is smaller than a third of the largest, on a canvas, with their boxes.

    The largest takes a quarter to two fifths of the width; 640x480 or 1024x768.
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
    """Sets a face into a canvas, in place."""
    enlarged = cv2.resize(face, (box.width, box.height), interpolation=cv2.INTER_CUBIC)
    scene[box.y : box.y + box.height, box.x : box.x + box.width] = enlarged
