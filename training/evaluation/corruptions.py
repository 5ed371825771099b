"""Common corruptions of face crops, one at a time, to measure how much accuracy each one costs.

The strengths correspond to ordinary photographs: slightly out of focus, a dim room, JPEG from a chat application, a
face box with an error of a tenth. Each corruption draws from a seeded generator, so a measurement can be repeated.

Reference:
    Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
_Corruption = Callable[[Images, np.random.Generator], Images]

_OCCLUDED_PX = 16


def corrupted(images: Images, name: str, seed: int = 0) -> Images:
    """Apply one corruption to every image.

    Args:
        images: uint8 (N, 48, 48, 1).
        name: A key of `CORRUPTIONS`.
        seed: Seed of the random generator.

    Returns:
        uint8 (N, 48, 48, 1), a new array.
    """
    generator = np.random.default_rng(seed)
    corruption = CORRUPTIONS[name]
    return np.stack([corruption(image[:, :, 0], generator) for image in images])[..., np.newaxis]


def _blur(image: Images, _: np.random.Generator) -> Images:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=1), dtype=np.uint8)


def _noise(image: Images, generator: np.random.Generator) -> Images:
    return _to_uint8(image + generator.normal(0, 10, size=image.shape))


def _jpeg(image: Images, _: np.random.Generator) -> Images:
    _ok, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _darker(image: Images, _: np.random.Generator) -> Images:
    return _to_uint8(image * 0.6)


def _brighter(image: Images, _: np.random.Generator) -> Images:
    return _to_uint8(image * 1.4)


def _rotated(image: Images, generator: np.random.Generator) -> Images:
    return _warped(image, degrees=float(generator.choice([-15, 15])))


def _occluded(image: Images, generator: np.random.Generator) -> Images:
    top, left = generator.integers(0, image.shape[0] - _OCCLUDED_PX + 1, size=2)
    occluded = image.copy()
    occluded[top : top + _OCCLUDED_PX, left : left + _OCCLUDED_PX] = round(float(image.mean()))
    return occluded


def _shifted(image: Images, generator: np.random.Generator) -> Images:
    right, down = generator.choice([-0.1, 0.1], size=2)
    return _warped(image, right=float(right), down=float(down))


def _tighter(image: Images, _: np.random.Generator) -> Images:
    return _warped(image, scale=1.1)


def _wider(image: Images, _: np.random.Generator) -> Images:
    return _warped(image, scale=1 / 1.1)


CORRUPTIONS: Mapping[str, _Corruption] = {
    "blur, sigma 1 px": _blur,
    "noise, sigma 10 grey levels": _noise,
    "JPEG quality 30": _jpeg,
    "40 % darker": _darker,
    "40 % brighter": _brighter,
    "rotated by 15 degrees": _rotated,
    "one ninth occluded": _occluded,
    "crop shifted by 10 % on both axes": _shifted,
    "crop 10 % too tight": _tighter,
    "crop 10 % too wide": _wider,
}


def _warped(image: Images, degrees: float = 0, scale: float = 1, right: float = 0, down: float = 0) -> Images:
    """Rotate and scale around the centre, then shift by shares of the side. Edge pixels are repeated."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += right * width, down * height
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _to_uint8(values: npt.NDArray[np.floating]) -> Images:
    return np.asarray(values.round().clip(0, 255), dtype=np.uint8)
