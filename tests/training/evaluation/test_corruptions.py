"""Disturbances do what their names say, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.datasets import textured_image
from training.evaluation.corruptions import DISTURBANCES, disturbed

FACES = np.stack([np.kron(textured_image(seed)[:12, :12], np.ones((4, 4), np.uint8)) for seed in range(6)])[..., None]


@pytest.mark.parametrize("name", DISTURBANCES)
def test_disturbed_every_image_changes_and_stays_what_it_shows(name):
    before = FACES.copy()
    changed = disturbed(FACES, name)
    np.testing.assert_array_equal(FACES, before)
    assert changed.shape == FACES.shape
    assert changed.dtype == np.uint8
    for original, image in zip(FACES, changed, strict=True):
        assert (image != original).any()
    np.testing.assert_array_equal(changed, disturbed(FACES, name))


def test_disturbed_brightness_and_occlusion_have_their_strength():
    grey = np.full((3, 48, 48, 1), 100, np.uint8)
    assert set(disturbed(grey, "40 % darker").ravel()) == {60}
    assert set(disturbed(grey, "40 % brighter").ravel()) == {140}
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None, None] * 5, (4, 48, 48, 1)).copy()
    covered = (disturbed(ramp, "a ninth covered") != ramp).mean()
    assert 0.09 < covered <= 1 / 9


def test_disturbed_crop_sizes_go_the_way_they_say():
    square = np.zeros((2, 48, 48, 1), np.uint8)
    square[:, 14:34, 14:34] = 255
    side = np.sqrt((disturbed(square, "crop 10 % too tight") > 127).mean() * 48**2)
    assert 21 < side < 23
    side = np.sqrt((disturbed(square, "crop 10 % too wide") > 127).mean() * 48**2)
    assert 17 < side < 19
    shifted = disturbed(square, "crop shifted by 10 % both ways")[0, :, :, 0]
    rows, columns = np.nonzero(shifted > 127)
    assert abs(rows.mean() - 23.5) == pytest.approx(4.8, abs=0.5)
    assert abs(columns.mean() - 23.5) == pytest.approx(4.8, abs=0.5)
