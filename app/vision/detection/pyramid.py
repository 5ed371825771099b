"""Image pyramid."""

from __future__ import annotations

import math

import cv2
import numpy as np

from app.contract.preprocess import GreyImage

# OpenCV's cascades reject windows whose grey levels have a standard deviation below 10, so that faces in dark or hazy
# images are never found. Regions of a lower contrast than `_LOW_DEVIATION` get the mean and deviation of usual images.
_LOW_DEVIATION = 15.0
_USUAL_MEAN, _USUAL_DEVIATION = 110.0, 50.0


class ImagePyramid:
    """Image with copies at 1/2, 1/4, 1/8 and so on of its size, each computed at first use.

    Every other scale is computed from the next larger copy, because halving an image is much faster than any other
    downscaling.

    Args:
        image: uint8 (H, W).
    """

    def __init__(self, image: GreyImage) -> None:
        self.image = image
        self.mean_side_px = mean_side(image)
        self._levels = [image]

    def level(self, scale: float) -> tuple[GreyImage, float]:
        """Return the smallest copy whose scale is at least `scale`, and its scale (1, 1/2, 1/4, ...)."""
        wanted = max(0, math.floor(-math.log2(scale)))
        while len(self._levels) <= wanted and min(self._levels[-1].shape) > 1:
            above = self._levels[-1]
            height, width = above.shape[0] // 2, above.shape[1] // 2
            even = above[: height * 2, : width * 2]
            halved = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
            self._levels.append(np.asarray(halved, dtype=np.uint8))
        index = min(wanted, len(self._levels) - 1)
        return self._levels[index], 0.5**index

    def downscaled(self, mean_side_px: float) -> tuple[GreyImage, float]:
        """Return a copy with the given mean side, and its scale. A smaller image is returned unchanged."""
        scale = min(1.0, mean_side_px / self.mean_side_px)
        level, level_scale = self.level(scale)
        return resized(level, scale / level_scale), scale


def mean_side(image: GreyImage) -> float:
    """Return the square root of the area of an image, in pixels.

    It is the measure of the size of faces: beside the long side of a panorama or of a long screenshot, every face is
    small.
    """
    return math.sqrt(image.shape[0] * image.shape[1])


def resized(image: GreyImage, scale: float) -> GreyImage:
    """Return a copy of an image at a scale of at most 1, or the image itself if its size does not change."""
    height, width = image.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def with_usual_contrast(image: GreyImage) -> GreyImage:
    """Return an image of low contrast with a usual mean and standard deviation; any other image itself.

    Args:
        image: uint8 (H, W).
    """
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(image))
    if deviation >= _LOW_DEVIATION:
        return image
    gain = _USUAL_DEVIATION / max(deviation, 1.0)
    return np.asarray(cv2.addWeighted(image, gain, image, 0, _USUAL_MEAN - gain * mean), dtype=np.uint8)


def turned_copy(image: GreyImage, degrees: float) -> GreyImage:
    """Return an image in which faces with a roll of `degrees` are upright.

    Args:
        image: uint8 (H, W).
        degrees: Roll of the faces, positive clockwise.

    Returns:
        uint8 (h, w), large enough for the whole image. Both images have the same centre.
    """
    height, width = image.shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = round(width * abs(cos) + height * abs(sin)), round(width * abs(sin) + height * abs(cos))
    to_copy = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    to_copy[:, 2] = (np.array(size) - 1) / 2 - to_copy[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(cv2.warpAffine(image, to_copy, size, flags=cv2.INTER_LINEAR), dtype=np.uint8)
