"""What photographs do to faces, one disturbance at a time, to measure what each costs. numpy and cv2 only.

The strengths are those of an ordinary day: a slightly missed focus, a dim room, a chat program's JPEG, a box that is a
tenth off. Each is drawn from a generator, so that a measurement can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
_Disturbance = Callable[[Images, np.random.Generator], Images]

_OCCLUDED_PX = 16


def disturbed(images: Images, name: str, seed: int = 0) -> Images:
    """Disturbs every image.

    Args:
        images: uint8 (N, 48, 48, 1).
        name: A key of `DISTURBANCES`.
        seed: Of the generator.

    Returns:
        uint8 (N, 48, 48, 1), new memory.
    """
    generator = np.random.default_rng(seed)
    disturb = DISTURBANCES[name]
    return np.stack([disturb(image[:, :, 0], generator) for image in images])[..., np.newaxis]


def _blur(image: Images, _: np.random.Generator) -> Images:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=1), dtype=np.uint8)


def _noise(image: Images, generator: np.random.Generator) -> Images:
    return _levels(image + generator.normal(0, 10, size=image.shape))


def _jpeg(image: Images, _: np.random.Generator) -> Images:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _darker(image: Images, _: np.random.Generator) -> Images:
    return _levels(image * 0.6)


def _brighter(image: Images, _: np.random.Generator) -> Images:
    return _levels(image * 1.4)


def _rotated(image: Images, generator: np.random.Generator) -> Images:
    return _warped(image, degrees=float(generator.choice([-15, 15])))


def _occluded(image: Images, generator: np.random.Generator) -> Images:
    top, left = generator.integers(0, image.shape[0] - _OCCLUDED_PX + 1, size=2)
    covered = image.copy()
    covered[top : top + _OCCLUDED_PX, left : left + _OCCLUDED_PX] = round(float(image.mean()))
    return covered


def _shifted(image: Images, generator: np.random.Generator) -> Images:
    across, down = generator.choice([-0.1, 0.1], size=2)
    return _warped(image, across=float(across), down=float(down))


def _tighter(image: Images, _: np.random.Generator) -> Images:
    return _warped(image, scale=1.1)


def _wider(image: Images, _: np.random.Generator) -> Images:
    return _warped(image, scale=1 / 1.1)


DISTURBANCES: Mapping[str, _Disturbance] = {
    "blur, sigma 1 px": _blur,
    "noise, sigma 10 grey levels": _noise,
    "JPEG quality 30": _jpeg,
    "40 % darker": _darker,
    "40 % brighter": _brighter,
    "turned by 15 degrees": _rotated,
    "a ninth covered": _occluded,
    "crop shifted by 10 % both ways": _shifted,
    "crop 10 % too tight": _tighter,
    "crop 10 % too wide": _wider,
}


def _warped(image: Images, degrees: float = 0, scale: float = 1, across: float = 0, down: float = 0) -> Images:
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += across * width, down * height
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _levels(values: npt.NDArray[np.floating]) -> Images:
    return np.asarray(values.round().clip(0, 255), dtype=np.uint8)
