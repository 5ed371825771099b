"""Image pyramid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.vision.detection.pyramid import ImagePyramid


def test_downscaled_copy_equals_a_direct_downscaling(portrait):
    pyramid = ImagePyramid(np.asarray(cv2.resize(portrait, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)))
    direct = cv2.resize(pyramid.image, (300, 300), interpolation=cv2.INTER_AREA)
    copy, scale = pyramid.downscaled(300)
    assert scale == pytest.approx(300 / pyramid.mean_side_px)
    assert copy.shape == direct.shape
    assert np.abs(copy.astype(int) - direct.astype(int)).mean() < 2


def test_downscaled_never_enlarges(portrait):
    pyramid = ImagePyramid(portrait)
    assert pyramid.downscaled(10_000) == (portrait, 1.0)


@pytest.mark.parametrize(("scale", "level_scale"), [(1.0, 1.0), (0.6, 1.0), (0.5, 0.5), (0.3, 0.5), (0.2, 0.25)])
def test_level_is_the_smallest_copy_that_is_large_enough(portrait, scale, level_scale):
    level, found_scale = ImagePyramid(portrait).level(scale)
    assert found_scale == level_scale
    assert level.shape == tuple(round(side * level_scale) for side in portrait.shape)
