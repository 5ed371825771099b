"""Augmentation: nothing happens unless asked, and then only what was asked."""

from __future__ import annotations

import numpy as np
import pytest

from training.augment import augment_batch
from training.config import AugmentConfig

IMAGES = np.random.default_rng(0).integers(60, 190, size=(8, 48, 48, 1), dtype=np.uint8)


def augmented(images: np.ndarray = IMAGES, size_px: int = 48, seed: int = 1, **options) -> np.ndarray:
    return augment_batch(images, AugmentConfig(**options), np.random.default_rng(seed), size_px)


def test_augment_nothing_asked_changes_nothing():
    np.testing.assert_array_equal(augmented(), IMAGES)


def test_augment_flip_mirrors_left_and_right():
    np.testing.assert_array_equal(augmented(flip_probability=1), IMAGES[:, :, ::-1])


def test_augment_flip_half_of_the_time_is_drawn_for_each_image():
    images = np.repeat(IMAGES[:1], 200, axis=0)
    flipped = (augmented(images, flip_probability=0.5) != images).any(axis=(1, 2, 3)).sum()
    assert 70 < flipped < 130


def test_augment_brightness_moves_the_mean_only():
    changed = augmented(brightness=0.1).astype(int) - IMAGES
    assert np.ptp(changed, axis=(1, 2, 3)).max() <= 1
    assert 5 < np.abs(changed).max() <= 26


def test_augment_contrast_keeps_the_mean():
    changed = augmented(contrast=0.4).astype(float)
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), IMAGES.mean(axis=(1, 2, 3)), atol=1.5)
    ratios = changed.std(axis=(1, 2, 3)) / IMAGES.std(axis=(1, 2, 3))
    assert ratios.min() < 0.9
    assert ratios.max() > 1.1


def test_augment_shift_moves_the_content_by_at_most_its_share():
    dot = np.zeros((64, 48, 48, 1), np.uint8)
    dot[:, 22:26, 22:26] = 255
    places = np.array([np.argwhere(image[:, :, 0] > 60).mean(axis=0) for image in augmented(dot, shift=0.2)])
    moves = np.abs(places - 23.5)
    assert 5 < moves.max() <= 0.2 * 48 + 1


@pytest.mark.parametrize("option", [{"rotation_degrees": 30}, {"scale": 0.3}])
def test_augment_rotation_and_scale_keep_the_centre(option):
    cross = np.zeros((16, 48, 48, 1), np.uint8)
    cross[:, 21:27, 8:40] = 255
    changed = augmented(cross, **option)
    assert (changed != cross).any(axis=(1, 2, 3)).all()
    for image in changed:
        np.testing.assert_allclose(np.argwhere(image[:, :, 0] > 127).mean(axis=0), 23.5, atol=0.6)


def test_augment_erasing_touches_one_rectangle_of_bounded_area():
    for before, after in zip(IMAGES, augmented(erase_probability=1, erase_max_area=0.2), strict=True):
        rows, columns = np.nonzero((before != after)[:, :, 0])
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 0 < area <= 0.2 * 48 * 48 * 1.15  # sides are rounded


def test_augment_size_scales_in_the_same_warp():
    smaller = augmented(size_px=24)
    assert smaller.shape == (8, 24, 24, 1)
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, None, :, None] * 4, (1, 48, 48, 1)).copy()
    np.testing.assert_allclose(augmented(ramp, size_px=24)[0, 12, :, 0], np.arange(24) * 8 + 2, atol=1)


def test_augment_same_generator_state_gives_the_same_images():
    options = {"flip_probability": 0.5, "rotation_degrees": 10, "scale": 0.2, "shift": 0.1, "erase_probability": 0.5}
    np.testing.assert_array_equal(augmented(**options), augmented(**options))
    assert (augmented(**options) != augmented(seed=2, **options)).any()
