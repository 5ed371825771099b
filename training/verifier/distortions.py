"""Random changes to a crop: as detectors frame faces, and as light, covers and cameras change them.

Faces and other crops get the same changes. Otherwise the network would learn the changes instead of faces.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from app.contract.contrast import with_min_contrast
from app.contract.preprocess import CROP_SIZE_PX
from training.verifier.config import DistortionConfig

Grey = npt.NDArray[np.uint8]

_MAX_DEVIATIONS = 2.5  # of the rotation
_SIDE_LIGHT_PROBABILITY = 0.3


def distorted(crop: Grey, background: Grey, config: DistortionConfig, generator: np.random.Generator) -> Grey:
    """Return a changed copy of a crop, as the network receives it.

    Args:
        crop: uint8 (48, 48, 1).
        background: uint8 (48, 48, 1), another crop, which fills the surroundings of a shrunk or shifted crop.
        config: Probabilities and ranges.
        generator: Source of all randomness.
    """
    values = _framed(crop[:, :, 0], background[:, :, 0], config, generator)
    if generator.random() < config.cover_probability:
        values = _covered(values, background[:, :, 0], config, generator)
    values = _shrunk(values, config, generator)
    levels = values.astype(np.float32)
    if generator.random() < config.tone_probability:
        levels = _toned(levels, generator)
    if generator.random() < config.dark_probability:
        levels = levels * np.float32(np.exp(generator.uniform(np.log(config.min_gain), 0)))
    if generator.random() < config.noise_probability:
        levels = levels + generator.normal(0, generator.uniform(1, 10), size=levels.shape).astype(np.float32)
    values = np.rint(levels).clip(0, 255).astype(np.uint8)
    if generator.random() < config.blur_probability:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), generator.uniform(0.3, 1.4)), dtype=np.uint8)
    if generator.random() < config.jpeg_probability:
        _, encoded = cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(25, 90))])
        values = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return with_min_contrast(values[:, :, np.newaxis])


def part_of_face(face: Grey, background: Grey, generator: np.random.Generator) -> Grey:
    """Return a crop that a face verifier must refuse: a part of a face, or a face that is far too small for its box.

    Args:
        face: uint8 (48, 48, 1).
        background: uint8 (48, 48, 1), a crop without a face.
        generator: Source of all randomness.
    """
    if generator.integers(2):
        side = int(generator.integers(12, 24))
        left, top = generator.integers(0, CROP_SIZE_PX - side + 1, size=2)
        part = face[top : top + side, left : left + side, 0]
        enlarged = cv2.resize(part, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, dtype=np.uint8)[:, :, np.newaxis]
    side = int(generator.integers(12, 22))
    left, top = generator.integers(0, CROP_SIZE_PX - side + 1, size=2)
    small = background.copy()
    small[top : top + side, left : left + side, 0] = cv2.resize(
        face[:, :, 0], (side, side), interpolation=cv2.INTER_AREA
    )
    return small


def _framed(crop: Grey, background: Grey, config: DistortionConfig, generator: np.random.Generator) -> Grey:
    """Mirror, rotate, scale and shift; fill the surroundings with the edge or with the background."""
    limit = _MAX_DEVIATIONS * config.rotation_degrees
    angle = float(np.clip(generator.normal(0, config.rotation_degrees), -limit, limit))
    scale = float(np.exp(generator.uniform(*np.log(config.zoom))))
    middle = (CROP_SIZE_PX - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), angle, scale), dtype=np.float64)
    matrix[:, 2] += generator.uniform(-config.shift, config.shift, size=2) * CROP_SIZE_PX
    if generator.integers(2):
        crop = np.ascontiguousarray(crop[:, ::-1])
    size = (CROP_SIZE_PX, CROP_SIZE_PX)
    warped = cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if generator.random() < config.background_probability:
        inside = cv2.warpAffine(np.ones(size, np.float32), matrix, size, flags=cv2.INTER_LINEAR)
        return np.asarray(np.rint(inside * warped + (1 - inside) * background), dtype=np.uint8)
    return np.asarray(warped, dtype=np.uint8)


def _covered(values: Grey, background: Grey, config: DistortionConfig, generator: np.random.Generator) -> Grey:
    """Cover a rectangle with one grey level or with a part of another crop."""
    area = generator.uniform(0.05, config.cover_max_area) * CROP_SIZE_PX**2
    ratio = np.exp(generator.uniform(-1, 1))
    width, height = (
        int(np.clip(round(side), 4, CROP_SIZE_PX)) for side in ((area * ratio) ** 0.5, (area / ratio) ** 0.5)
    )
    left = int(generator.integers(0, CROP_SIZE_PX - width + 1))
    top = int(generator.integers(0, CROP_SIZE_PX - height + 1))
    covered = values.copy()
    place = (slice(top, top + height), slice(left, left + width))
    covered[place] = background[place] if generator.integers(2) else generator.integers(0, 256)
    return covered


def _shrunk(values: Grey, config: DistortionConfig, generator: np.random.Generator) -> Grey:
    """Shrink and enlarge, as a small face in the image is enlarged."""
    if generator.random() >= config.small_probability:
        return values
    side = int(generator.integers(config.min_size_px, CROP_SIZE_PX))
    small = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _toned(levels: npt.NDArray[np.float32], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Change gamma, contrast and brightness, and sometimes add light from one side."""
    gamma = np.float32(np.exp(generator.uniform(-0.6, 0.6)))
    levels = np.asarray(255 * (levels / 255) ** gamma, dtype=np.float32)
    levels = (levels - 128) * np.float32(generator.uniform(0.4, 1.2)) + np.float32(128 + generator.uniform(-40, 40))
    if generator.random() < _SIDE_LIGHT_PROBABILITY:
        angle = generator.uniform(0, 2 * np.pi)
        ramp = np.linspace(-1, 1, CROP_SIZE_PX, dtype=np.float32)
        slope = np.cos(angle) * ramp[np.newaxis, :] + np.sin(angle) * ramp[:, np.newaxis]
        levels = levels * (1 + np.float32(generator.uniform(0.2, 0.6)) * slope.astype(np.float32))
    return levels.clip(0, 255)
