"""Views: scaled and turned copies of an image and of its parts, in which the network searches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from app.vision.yunet.framing import Floats

Pixels = npt.NDArray[np.uint8]

_QUARTER_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}

# The network misses faces whose grey levels vary little, as in a dark room or in haze. A view of a lower deviation than
# `_LOW_DEVIATION` gets the mean and the deviation of usual images, as for the cascades.
_LOW_DEVIATION = 20.0
_USUAL_MEAN, _USUAL_DEVIATION = 110.0, 50.0


@dataclass(frozen=True, slots=True)
class View:
    """Copy of an image or of a part.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        to_image: Matrix from pixels of the view to pixels of the image; float64 (2, 3).
    """

    pixels: Pixels
    to_image: Floats


class Pyramid:
    """An image with copies at 1/2, 1/4, 1/8 and so on of its size, each computed at first use.

    Halving is much faster than any other downscaling, so views are made of the next larger copy.

    Args:
        image: uint8 (H, W) or (H, W, 3).
    """

    def __init__(self, image: Pixels) -> None:
        self.height, self.width = image.shape[:2]
        self._levels = [image]

    def level(self, scale: float) -> View:
        """Return the smallest copy whose scale is at least `scale`, or the image itself."""
        wanted = max(0, math.floor(-math.log2(scale)))
        while len(self._levels) <= wanted and min(self._levels[-1].shape[:2]) > 1:
            above = self._levels[-1]
            height, width = above.shape[0] // 2, above.shape[1] // 2
            even = above[: height * 2, : width * 2]
            self._levels.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
        index = min(wanted, len(self._levels) - 1)
        return View(self._levels[index], _resizing(2.0**index, 2.0**index))


def scaled(pyramid: Pyramid, scale: float) -> View:
    """Return the whole image at another scale.

    Args:
        pyramid: The image.
        scale: Scale, above 0.
    """
    level = pyramid.level(scale)
    height, width = level.pixels.shape[:2]
    size = max(1, round(pyramid.width * scale)), max(1, round(pyramid.height * scale))
    pixels = level.pixels
    if size != (width, height):
        interpolation = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=interpolation), dtype=np.uint8)
    to_image = _combined(level.to_image, _resizing(width / size[0], height / size[1]))
    return View(with_usual_contrast(to_colour(pixels)), to_image)


def turned(view: View, degrees: int) -> View:
    """Return a copy that is turned clockwise. The copy is as large as its content needs.

    Args:
        view: The view to turn.
        degrees: Angle, -180 to 360.
    """
    height, width = view.pixels.shape[:2]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    size = _size_of(width * abs(cos) + height * abs(sin)), _size_of(width * abs(sin) + height * abs(cos))
    back = _turn_around((width - 1) / 2, (height - 1) / 2, -angle, (size[0] - 1) / 2, (size[1] - 1) / 2, 1.0)
    quarter = _QUARTER_TURNS.get(degrees % 360)
    if quarter is not None:
        pixels = cv2.rotate(view.pixels, quarter)
    else:
        pixels = cv2.warpAffine(
            view.pixels, back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
    return View(np.asarray(pixels, dtype=np.uint8), _combined(view.to_image, back))


def around(pyramid: Pyramid, centre: Floats, side: float, roll: float, size_px: int) -> View:
    """Return a square part, turned so that a face with a roll is upright. Beyond the image its edge is repeated.

    Args:
        pyramid: The image.
        centre: Centre (x, y) of the square, in pixels of the image.
        side: Side of the square, in pixels of the image.
        roll: Angle of the square in radians, clockwise.
        size_px: Side of the view.
    """
    level = pyramid.level(size_px / side)
    factor, shift = level.to_image[0, 0], level.to_image[0, 2]
    height, width = level.pixels.shape[:2]
    x, y = (float(value - shift) / factor for value in centre)
    # OpenCV turns no image of more than 32,767 pixels a side, so it gets the surroundings of the square only.
    reach = side / factor * math.sqrt(0.5) + 1
    left, top = _inside(x - reach, width), _inside(y - reach, height)
    part = level.pixels[top : _inside(y + reach, height) + 1, left : _inside(x + reach, width) + 1]
    middle = (size_px - 1) / 2
    to_part = _turn_around(x - left, y - top, roll, middle, middle, side / size_px / factor)
    pixels = cv2.warpAffine(
        part,
        to_part,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    to_level = to_part + np.array([[0, 0, left], [0, 0, top]])
    colour = with_usual_contrast(to_colour(np.asarray(pixels, dtype=np.uint8)))
    return View(colour, _combined(level.to_image, to_level))


def to_colour(pixels: Pixels) -> Pixels:
    """Return an image with three channels."""
    if pixels.ndim == 3:  # noqa: PLR2004
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def with_usual_contrast(pixels: Pixels) -> Pixels:
    """Return an image of low contrast with a usual mean and standard deviation; any other image itself.

    Args:
        pixels: uint8 (H, W, 3).
    """
    means, deviations = cv2.meanStdDev(pixels)
    deviation = float(np.mean(deviations))
    if deviation >= _LOW_DEVIATION:
        return pixels
    gain = _USUAL_DEVIATION / max(deviation, 1.0)
    return np.asarray(cv2.addWeighted(pixels, gain, pixels, 0, _USUAL_MEAN - gain * float(np.mean(means))), np.uint8)


def _resizing(factor_x: float, factor_y: float) -> Floats:
    """Return the matrix from a resized copy. The centre of pixel 0 is at 0, so the corner is at -0.5 in both images."""
    return np.array([[factor_x, 0, (factor_x - 1) / 2], [0, factor_y, (factor_y - 1) / 2]])


def _size_of(length: float) -> int:
    return max(1, math.ceil(length - 1e-6))


def _inside(value: float, length: int) -> int:
    return min(max(math.floor(value), 0), length - 1)


def _turn_around(x: float, y: float, angle: float, from_x: float, from_y: float, scale: float) -> Floats:
    """Return the matrix that scales, turns clockwise, and moves (`from_x`, `from_y`) to (x, y)."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, x - cos * from_x + sin * from_y], [sin, cos, y - sin * from_x - cos * from_y]])


def _combined(outer: Floats, inner: Floats) -> Floats:
    """Return the matrix that applies `inner`, then `outer`."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.hstack([linear, (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, np.newaxis]])
