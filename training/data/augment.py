"""Augmentation: random changes to training images, drawn from an explicit generator, with numpy and OpenCV only.

All geometric changes are composed into one affine warp, so an image is interpolated once. A chain of Keras
preprocessing layers would interpolate it four times and needs more CPU time than the rest of the input pipeline. Pixels
stay uint8, as in serving.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.config import AugmentConfig

Images = npt.NDArray[np.uint8]


def augment_batch(images: Images, config: AugmentConfig, generator: np.random.Generator, size_px: int) -> Images:
    """Augment every image of a batch independently.

    Args:
        images: uint8 (N, H, W, 1).
        config: Probabilities and ranges.
        generator: Source of all randomness.
        size_px: Side of the returned images; the same warp scales them.

    Returns:
        uint8 (N, size_px, size_px, 1), new memory.
    """
    return np.stack([_augment(image[:, :, 0], config, generator, size_px) for image in images])[..., np.newaxis]


def resize_batch(images: Images, size_px: int) -> Images:
    """Scale images uint8 (N, H, W, 1) to uint8 (N, size_px, size_px, 1) with the interpolation of augmentation."""
    if images.shape[1:3] == (size_px, size_px):
        return images
    resized = [cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_LINEAR) for image in images[..., 0]]
    return np.asarray(np.stack(resized)[..., np.newaxis], dtype=np.uint8)


def _augment(image: Images, config: AugmentConfig, generator: np.random.Generator, size_px: int) -> Images:
    warped = _warp(image, config, generator, size_px)
    toned = _degrade(_tone(warped, config, generator), config, generator)
    if generator.random() < config.erase_probability:
        _erase(toned, config, generator)
    return toned


def _warp(image: Images, config: AugmentConfig, generator: np.random.Generator, size_px: int) -> Images:
    height, width = image.shape
    angle = generator.uniform(-config.rotation_degrees, config.rotation_degrees)
    scale = float(np.exp(generator.uniform(*np.log(config.zoom))))
    shift_x, shift_y = generator.uniform(-config.shift, config.shift, size=2)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    matrix[:, 2] += shift_x * width, shift_y * height
    if generator.random() < config.flip_probability:
        matrix = matrix @ np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    # The options below draw only if the config sets them, so that older recipes keep their random numbers.
    if config.shear_degrees:
        slope = np.tan(np.radians(generator.uniform(-config.shear_degrees, config.shear_degrees)))
        middle = (height - 1) / 2
        matrix = matrix @ np.array([[1.0, slope, -slope * middle], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    if config.crop:
        share = generator.uniform(1 - config.crop, 1)
        left, top = generator.uniform(0, 1 - share, size=2) * (width, height)
        window = np.array([[1 / share, 0.0, -left / share], [0.0, 1 / share, -top / share]])
        matrix = window @ np.vstack([matrix, [0.0, 0.0, 1.0]])
    # Pixel centres have whole coordinates, so resizing maps x to (x + 0.5) * factor - 0.5.
    factors = np.array([[size_px / width], [size_px / height]])
    matrix = matrix * factors
    matrix[:, 2] += (0.5 * factors - 0.5)[:, 0]
    warped = cv2.warpAffine(image, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _tone(image: Images, config: AugmentConfig, generator: np.random.Generator) -> Images:
    contrast = generator.uniform(1 - config.contrast, 1 + config.contrast)
    brightness = generator.uniform(-config.brightness, config.brightness) * 255
    mean = float(image.mean())
    levels = np.arange(256, dtype=np.float32)
    table = np.clip((levels - mean) * contrast + mean + brightness, 0, 255).round().astype(np.uint8)
    toned: Images = table[image]
    return toned


def _degrade(image: Images, config: AugmentConfig, generator: np.random.Generator) -> Images:
    """Apply the defects of cameras and chat programs in their order. As in `_warp`, unset options draw nothing."""
    if config.blur_probability and generator.random() < config.blur_probability:
        sigma = generator.uniform(0.1, max(0.1, config.blur_max_sigma))
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=sigma), dtype=np.uint8)
    if config.noise_probability and generator.random() < config.noise_probability:
        deviation = generator.uniform(0, config.noise_max_deviation)
        noisy = image + deviation * generator.standard_normal(image.shape, dtype=np.float32)
        image = noisy.round().clip(0, 255).astype(np.uint8)
    if config.jpeg_probability and generator.random() < config.jpeg_probability:
        quality = int(generator.integers(config.jpeg_min_quality, 101))
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return image


def _erase(image: Images, config: AugmentConfig, generator: np.random.Generator) -> None:
    """Fill one random rectangle with noise, in place.

    Reference:
        Zhong et al., "Random Erasing Data Augmentation", 2017 (aspect ratios 0.3 to 3.3).
    """
    height, width = image.shape
    area = generator.uniform(min(0.02, config.erase_max_area), config.erase_max_area) * height * width
    aspect = np.exp(generator.uniform(np.log(0.3), np.log(3.3)))
    erased_height = min(height, max(1, round(float(np.sqrt(area * aspect)))))
    erased_width = min(width, max(1, round(float(np.sqrt(area / aspect)))))
    top = int(generator.integers(0, height - erased_height + 1))
    left = int(generator.integers(0, width - erased_width + 1))
    image[top : top + erased_height, left : left + erased_width] = generator.integers(
        0, 256, size=(erased_height, erased_width), dtype=np.uint8
    )
