"""Augmentation: each option has its documented effect, and no option changes anything by default."""

from __future__ import annotations

import numpy as np
import pytest

from training.config import AugmentConfig
from training.data.augment import augment_batch

IMAGES = np.random.default_rng(0).integers(60, 190, size=(8, 48, 48, 1), dtype=np.uint8)


def augmented(images: np.ndarray = IMAGES, size_px: int = 48, seed: int = 1, **options) -> np.ndarray:
    return augment_batch(images, AugmentConfig(**options), np.random.default_rng(seed), size_px)


def test_augment_without_options_changes_nothing():
    np.testing.assert_array_equal(augmented(), IMAGES)


def test_augment_flip_mirrors_left_and_right():
    np.testing.assert_array_equal(augmented(flip_probability=1), IMAGES[:, :, ::-1])


def test_augment_flip_is_drawn_for_each_image():
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


@pytest.mark.parametrize("option", [{"rotation_degrees": 30}, {"zoom": (0.7, 1.3)}])
def test_augment_rotation_and_zoom_keep_the_centre(option):
    cross = np.zeros((16, 48, 48, 1), np.uint8)
    cross[:, 21:27, 8:40] = 255
    changed = augmented(cross, **option)
    assert (changed != cross).any(axis=(1, 2, 3)).all()
    for image in changed:
        np.testing.assert_allclose(np.argwhere(image[:, :, 0] > 127).mean(axis=0), 23.5, atol=0.6)


def test_augment_erasing_changes_one_rectangle_of_bounded_area():
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
    options = {
        "flip_probability": 0.5,
        "rotation_degrees": 10,
        "zoom": (0.8, 1.2),
        "shift": 0.1,
        "erase_probability": 0.5,
    }
    np.testing.assert_array_equal(augmented(**options), augmented(**options))
    assert (augmented(**options) != augmented(seed=2, **options)).any()


def test_augment_does_not_change_its_input():
    before = IMAGES.copy()
    options = {"flip_probability": 1, "brightness": 0.5, "contrast": 0.5, "erase_probability": 1, "shift": 0.2}
    changed = augmented(**options)
    np.testing.assert_array_equal(IMAGES, before)
    assert not np.shares_memory(augmented(), IMAGES)
    assert changed.dtype == np.uint8


def test_augment_draws_for_every_image():
    same = np.repeat(IMAGES[:1], 8, axis=0)
    changed = augmented(same, rotation_degrees=30)
    assert len({image.tobytes() for image in changed}) == 8


def test_augment_brightness_changes_in_both_directions():
    means = augmented(np.repeat(IMAGES[:1], 64, axis=0), brightness=0.1).mean(axis=(1, 2, 3)) - IMAGES[0].mean()
    assert means.min() < -15
    assert means.max() > 15


def test_augment_rotation_turns_by_at_most_its_degrees():
    bar = np.zeros((64, 48, 48, 1), np.uint8)
    bar[:, 23:25, 4:44] = 255
    angles = []
    for image in augmented(bar, rotation_degrees=20):
        rows, columns = np.nonzero(image[:, :, 0] > 100)
        angles.append(np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0])))
    assert 15 < np.abs(angles).max() < 21
    assert min(angles) < 0 < max(angles)


def test_augment_zoom_grows_and_shrinks_within_its_range():
    square = np.zeros((64, 48, 48, 1), np.uint8)
    square[:, 14:34, 14:34] = 255
    sides = np.sqrt((augmented(square, zoom=(0.7, 1.3)) > 127).sum(axis=(1, 2, 3)))
    assert 20 * 0.7 - 1 <= sides.min() < 17
    assert 23 < sides.max() <= 20 * 1.3 + 1


def test_augment_erasing_obeys_a_maximum_below_two_percent():
    blank = np.zeros((200, 48, 48, 1), np.uint8)
    shares = (augmented(blank, erase_probability=1, erase_max_area=0.005) > 0).mean(axis=(1, 2, 3))
    assert 0 < shares.max() <= 0.005 * 1.5  # the sides are rounded, which changes a small area more


def test_augment_larger_size_keeps_the_picture():
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, None, :, None] * 4, (1, 48, 48, 1)).copy()
    larger = augmented(ramp, size_px=96)
    assert larger.shape == (1, 96, 96, 1)
    np.testing.assert_allclose(larger[0, 50, 4:-4, 0], (np.arange(4, 92) + 0.5) * 2 - 2, atol=1)


def test_augment_blur_removes_detail_and_keeps_the_mean():
    changed = augmented(blur_probability=1, blur_max_sigma=2.0).astype(float)
    assert (changed.std(axis=(1, 2, 3)) < IMAGES.std(axis=(1, 2, 3)) * 0.99).any()
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), IMAGES.mean(axis=(1, 2, 3)), atol=1.5)


def test_augment_noise_is_of_at_most_its_deviation():
    flat = np.full((32, 48, 48, 1), 128, np.uint8)
    deviations = augmented(flat, noise_probability=1, noise_max_deviation=10).astype(float).std(axis=(1, 2, 3))
    assert deviations.min() < 3
    assert 7 < deviations.max() < 10.6


def test_augment_jpeg_has_compression_errors():
    changed = augmented(jpeg_probability=1, jpeg_min_quality=10)
    loss = np.abs(changed.astype(int) - IMAGES).mean(axis=(1, 2, 3))
    assert loss.min() > 0
    assert loss.max() > 5
    assert np.abs(augmented(jpeg_probability=1, jpeg_min_quality=100).astype(int) - IMAGES).mean() < 1


@pytest.mark.parametrize("option", ["blur", "noise", "jpeg"])
def test_augment_degradation_is_drawn_for_each_image(option):
    images = np.repeat(IMAGES[:1], 200, axis=0)
    changed = (augmented(images, **{f"{option}_probability": 0.5}) != images).any(axis=(1, 2, 3)).sum()
    assert 60 < changed < 130
