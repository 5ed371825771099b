"""The surroundings of a place, turned and scaled so that a face has one size and one direction everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from app.contract.preprocess import GreyImage
from app.vision.detection.boxes import Square, square_around, turned
from app.vision.detection.pyramid import ImagePyramid, with_usual_contrast

FACE_PX = 48  # side of the square in the region


@dataclass(frozen=True, slots=True)
class Region:
    """Surroundings of a square.

    Attributes:
        pixels: uint8 (h, w). The square is upright in it and has a side of `FACE_PX`.
        centre: x and y of the region's centre in pixels of the image.
        scale: Pixels of the region per pixel of the image.
        degrees: Angle by which the region is turned in the image, positive clockwise.
    """

    pixels: GreyImage
    centre: tuple[float, float]
    scale: float
    degrees: float

    @classmethod
    def around(cls, pyramid: ImagePyramid, square: Square, margin: float) -> Region | None:
        """Cut out a square with a margin, given as a share of its side.

        Edge pixels are repeated beyond the image, because the cascades need a margin around a face.

        Returns:
            The region, or None if the centre of the square is outside the image.
        """
        level, level_scale = pyramid.level(min(1.0, FACE_PX / square.side))
        x, y = (value * level_scale for value in square.centre)
        if not (0 <= x < level.shape[1] and 0 <= y < level.shape[0]):
            return None
        side_px = round(FACE_PX * (1 + 2 * margin))
        scale = FACE_PX / (square.side * level_scale)  # pixels of the region per pixel of the level
        # A turned square reaches beyond an upright one of the same size.
        cos, sin = turned(1.0, 0.0, square.degrees)
        reach = max(1, round(side_px / scale / 2 * (abs(cos) + abs(sin))))
        left, top = round(x) - reach, round(y) - reach
        cut = _cut(level, left, top, 2 * reach)
        cut_px = max(1, round(2 * reach * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(cut, (cut_px, cut_px), interpolation=interpolation), dtype=np.uint8)
        if square.degrees:
            pixels = _turn(pixels, square.degrees, side_px)
        centre = (left + reach) / level_scale, (top + reach) / level_scale
        return cls(with_usual_contrast(pixels), centre, cut_px / (2 * reach) * level_scale, square.degrees)

    def to_image(self, x: float, y: float, side: float) -> Square:
        """Convert a square of the region to a square of the image."""
        height, width = self.pixels.shape
        across, down = turned(x + (side - width) / 2, y + (side - height) / 2, self.degrees)
        return square_around(
            self.centre[0] + across / self.scale, self.centre[1] + down / self.scale, side / self.scale, self.degrees
        )


def _cut(image: GreyImage, left: int, top: int, side: int) -> GreyImage:
    """Return a square of an image with repeated edge pixels."""
    height, width = image.shape
    inside = image[max(top, 0) : top + side, max(left, 0) : left + side]
    if inside.shape == (side, side):
        return inside
    margins = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    return np.asarray(cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _turn(image: GreyImage, degrees: float, side_px: int) -> GreyImage:
    """Return the centre of a square image, turned so that a square with `degrees` is upright."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle, centre = (side_px - 1) / 2, (image.shape[0] - 1) / 2
    to_image = np.array(
        [
            [cos, -sin, centre - cos * middle + sin * middle],
            [sin, cos, centre - sin * middle - cos * middle],
        ]
    )
    return np.asarray(
        cv2.warpAffine(
            image,
            to_image,
            (side_px, side_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )
