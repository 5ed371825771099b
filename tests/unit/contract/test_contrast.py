"""Contrast of crops: dark and hazy crops are stretched, other crops are unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.contrast import MIN_DEVIATION, with_min_contrast
from app.contract.preprocess import crop_face, resize_to_crop
from app.contract.scores import probabilities
from app.domain import FaceBox
from app.inference.session import EmotionSession
from tests.support.paths import REPOSITORY
from tests.support.portrait import FACE, load_portrait

LEVELS = np.linspace(20, 235, 48 * 48).reshape(48, 48, 1)
CROP = np.rint(LEVELS).astype(np.uint8)


def darker(image: np.ndarray, gain: float, offset: float = 0) -> np.ndarray:
    return np.rint(image * gain + offset).clip(0, 255).astype(np.uint8)


def test_crop_of_usual_contrast_is_unchanged():
    assert with_min_contrast(CROP) is CROP
    np.testing.assert_array_equal(resize_to_crop(CROP[:, :, 0]), CROP)


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0), (0.1, 0), (0.06, 0), (0.1, 200)])
def test_dark_and_hazy_crops_get_the_minimum_contrast(gain, offset):
    stretched = with_min_contrast(darker(CROP, gain, offset))
    assert stretched.dtype == np.uint8
    assert stretched.std() == pytest.approx(MIN_DEVIATION, rel=0.02)
    assert 60 < stretched.mean() < 180
    assert np.corrcoef(stretched.ravel(), CROP.ravel())[0, 1] > 0.99


def test_crop_just_below_the_minimum_contrast_changes_by_less_than_one_level():
    crop = darker(CROP, (MIN_DEVIATION - 0.1) / CROP.std())
    assert 0 < MIN_DEVIATION - crop.std() < 0.3
    assert np.abs(with_min_contrast(crop).astype(int) - crop).max() <= 2


@pytest.mark.parametrize("level", [0, 7, 255])
def test_crop_of_one_grey_level_is_unchanged(level):
    flat = np.full((48, 48, 1), level, np.uint8)
    np.testing.assert_array_equal(with_min_contrast(flat), flat)


def test_each_crop_of_a_batch_is_stretched_alone():
    crops = np.stack([CROP, darker(CROP, 0.1), darker(CROP, 0.5)])
    np.testing.assert_array_equal(with_min_contrast(crops), np.stack([with_min_contrast(crop) for crop in crops]))


def test_face_in_a_dark_image_is_stretched_as_its_crop_is():
    image = darker(np.random.default_rng(0).integers(0, 256, (300, 400)), 0.1)
    box = FaceBox(100, 80, 92, 92)
    assert crop_face(image, box).std() > 2 * image.std()
    np.testing.assert_array_equal(crop_face(image, box), resize_to_crop(image[78:174, 98:194]))


@pytest.mark.parametrize("gain", [0.5, 0.2, 0.1, 0.06])
def test_gain_does_not_change_the_emotion_of_a_portrait(gain):
    session = EmotionSession(REPOSITORY / "models" / "fer_vgg.onnx", "cpu", threads=1)
    portrait = load_portrait()
    crops = np.stack([crop_face(portrait, FACE), crop_face(darker(portrait, gain), FACE)])
    bright, dark = probabilities(session.logits(crops), session.manifest.contract.temperature)
    assert dark.argmax() == bright.argmax()
    assert np.abs(dark - bright).max() < 0.25
