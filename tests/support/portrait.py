"""The portrait in tests/photos with its face, and images made of it."""

from __future__ import annotations

import cv2
import numpy as np

from app.domain import FaceBox
from app.vision.decode import decode_grey
from tests.support.images import ASTRONAUT

FACE = FaceBox(176, 66, 96, 96)  # boxed by a person


def load_portrait() -> np.ndarray:
    """Return the portrait, uint8 (512, 512)."""
    return decode_grey(ASTRONAUT.read_bytes(), 10_000_000)


def crop_around_face(portrait: np.ndarray, widths: float) -> tuple[np.ndarray, float]:
    """Return a square of `widths` face widths around the face, and the face's share of the long side."""
    margin = round(FACE.width * (widths - 1) / 2)
    left, top = max(0, FACE.x - margin), max(0, FACE.y - margin)
    part = portrait[top : FACE.y + FACE.height + margin, left : FACE.x + FACE.width + margin]
    return np.ascontiguousarray(part), FACE.width / max(part.shape)


def beside_smaller_copy(portrait: np.ndarray, scale: float) -> np.ndarray:
    """Return the portrait with a smaller copy of it on its left."""
    small = np.asarray(cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    scene = np.full((portrait.shape[0], portrait.shape[1] + small.shape[1]), 128, dtype=np.uint8)
    scene[: small.shape[0], : small.shape[1]] = small
    scene[:, small.shape[1] :] = portrait
    return scene


def shifted(grey: np.ndarray, x: int, y: int, zoom: float = 1.0) -> np.ndarray:
    """Return the next frame of a video: moved right and down by pixels, with repeated edges."""
    matrix = np.array([[zoom, 0, x], [0, zoom, y]])
    return np.asarray(cv2.warpAffine(grey, matrix, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)
