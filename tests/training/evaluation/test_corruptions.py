"""Corruptions have the strength that their names state."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.datasets import textured_image
from training.evaluation.corruptions import CORRUPTIONS, corrupted

FACES = np.stack([np.kron(textured_image(seed)[:12, :12], np.ones((4, 4), np.uint8)) for seed in range(6)])[..., None]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_changes_every_image_reproducibly(name):
    before = FACES.copy()
    changed = corrupted(FACES, name)
    np.testing.assert_array_equal(FACES, before)
    assert changed.shape == FACES.shape
    assert changed.dtype == np.uint8
    for original, image in zip(FACES, changed, strict=True):
        assert (image != original).any()
    np.testing.assert_array_equal(changed, corrupted(FACES, name))


def test_brightness_and_occlusion_have_their_strength():
    grey = np.full((3, 48, 48, 1), 100, np.uint8)
    assert set(corrupted(grey, "40 % darker").ravel()) == {60}
    assert set(corrupted(grey, "40 % brighter").ravel()) == {140}
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None, None] * 5, (4, 48, 48, 1)).copy()
    changed_share = (corrupted(ramp, "one ninth occluded") != ramp).mean()
    assert 0.09 < changed_share <= 1 / 9


def test_crop_errors_have_their_direction_and_size():
    square = np.zeros((2, 48, 48, 1), np.uint8)
    square[:, 14:34, 14:34] = 255
    side = np.sqrt((corrupted(square, "crop 10 % too tight") > 127).mean() * 48**2)
    assert 21 < side < 23
    side = np.sqrt((corrupted(square, "crop 10 % too wide") > 127).mean() * 48**2)
    assert 17 < side < 19
    shifted = corrupted(square, "crop shifted by 10 % on both axes")[0, :, :, 0]
    rows, columns = np.nonzero(shifted > 127)
    assert abs(rows.mean() - 23.5) == pytest.approx(4.8, abs=0.5)
    assert abs(columns.mean() - 23.5) == pytest.approx(4.8, abs=0.5)
