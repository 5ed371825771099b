"""Generated images, and the photograph in the repository."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tests.support.paths import REPOSITORY

ASTRONAUT = REPOSITORY / "tests" / "photos" / "astronaut.jpg"


def picture(faces: int = 1, seed: int = 0, columns: int = 4, rows: int = 3) -> np.ndarray:
    """Return a grey image, uint8 (40 * rows, 40 * columns), in which `FakeDetector` finds `faces` different faces."""
    grey = np.random.default_rng(seed).integers(0, 200, size=(rows * 40, columns * 40), dtype=np.uint8)
    for index in range(faces):
        y, x = divmod(index, columns)
        grey[y * 40 + 18 : y * 40 + 23, x * 40 + 18 : x * 40 + 23] = 255
    return grey


def encoded(pixels: np.ndarray, image_format: str = "PNG", **options: Any) -> bytes:
    """Return an image as an encoded file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def read_plot(path: Path) -> np.ndarray:
    """Return a plot, uint8 (H, W, 3), blue first."""
    image = cv2.imread(str(path))
    assert image is not None
    return image


PNG = encoded(picture())  # 160x120, with one face for `FakeDetector`
