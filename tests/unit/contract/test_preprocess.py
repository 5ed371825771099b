"""Face crops: framing, borders, interpolation. Probabilities and labels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.contract.labels import LABELS
from app.contract.preprocess import crop_face, resize_to_crop
from app.contract.scores import probabilities
from app.domain import FaceBox

IMAGE = np.random.default_rng(0).integers(0, 256, size=(300, 400), dtype=np.uint8)


def test_resize_to_crop_48_pixels_stay_as_they_are():
    np.testing.assert_array_equal(resize_to_crop(IMAGE[:48, :48])[:, :, 0], IMAGE[:48, :48])


def test_resize_to_crop_shrinks_by_area():
    image = np.where(np.arange(400) < 200, IMAGE // 2, 128 + IMAGE // 2).astype(np.uint8)  # of usual contrast
    expected = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(resize_to_crop(image)[:, :, 0], expected)
    assert np.abs(cv2.resize(image, (48, 48)).astype(int) - expected).max() > 20  # INTER_LINEAR would alias


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 500), (47, 47), (48, 300)])
def test_resize_to_crop_any_shape_gives_the_input_shape(shape):
    crop = resize_to_crop(IMAGE[: shape[0], : shape[1]] if shape[1] <= 400 else np.zeros(shape, np.uint8))
    assert crop.shape == (48, 48, 1)
    assert crop.dtype == np.uint8


def test_crop_face_widens_the_box_by_4_percent_around_its_centre():
    crop = crop_face(IMAGE, FaceBox(100, 100, 100, 100))
    np.testing.assert_array_equal(crop, resize_to_crop(IMAGE[98:202, 98:202]))


@pytest.mark.parametrize("box", [FaceBox(0, 0, 100, 100), FaceBox(300, 200, 100, 100), FaceBox(-30, 250, 100, 100)])
def test_crop_face_at_the_border_repeats_the_edge(box):
    padded = cv2.copyMakeBorder(IMAGE, 150, 150, 150, 150, cv2.BORDER_REPLICATE)
    inner = crop_face(padded, FaceBox(box.x + 150, box.y + 150, box.width, box.height))
    np.testing.assert_array_equal(crop_face(IMAGE, box), inner)


def test_crop_of_a_face_that_fills_the_image_is_nearly_the_image():
    crop = crop_face(IMAGE[:100, :100], FaceBox(0, 0, 100, 100)).astype(int)
    assert np.abs(crop[4:-4, 4:-4] - resize_to_crop(IMAGE[:100, :100]).astype(int)[4:-4, 4:-4]).mean() < 40


@pytest.mark.parametrize(("roll", "quarter_turns"), [(90.0, 1), (180.0, 2), (-180.0, 2), (-90.0, 3)])
def test_crop_face_turns_a_face_that_is_turned_clockwise_back(roll, quarter_turns):
    box = FaceBox(120, 80, 92, 92)
    upright = resize_to_crop(IMAGE[78:174, 118:214])
    np.testing.assert_array_equal(crop_face(IMAGE, box, roll), np.rot90(upright, quarter_turns))


@pytest.mark.parametrize("roll", [-45.0, 10.0, 30.0])
def test_crop_of_a_turned_face_is_nearly_the_crop_of_the_upright_face(roll):
    smooth = cv2.GaussianBlur(IMAGE, (0, 0), 5)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    box = FaceBox(150, 100, 92, 92)
    centre = (148 + 95 / 2, 98 + 95 / 2)
    turned = cv2.warpAffine(
        smooth, cv2.getRotationMatrix2D(centre, -roll, 1.0), (400, 300)
    )  # OpenCV's angle is to the left
    difference = np.abs(crop_face(turned, box, roll).astype(int) - crop_face(smooth, box))
    assert difference.mean() < 3
    assert np.abs(crop_face(turned, box).astype(int) - crop_face(smooth, box)).mean() > 20


@pytest.mark.parametrize("box", [FaceBox(0, 0, 100, 100), FaceBox(300, 200, 100, 100), FaceBox(-30, 250, 100, 100)])
def test_crop_face_turned_at_the_border_repeats_the_edge(box):
    padded = cv2.copyMakeBorder(IMAGE, 150, 150, 150, 150, cv2.BORDER_REPLICATE)
    inner = crop_face(padded, FaceBox(box.x + 150, box.y + 150, box.width, box.height), 30.0)
    np.testing.assert_allclose(crop_face(IMAGE, box, 30.0).astype(int), inner, atol=3)


def test_crop_face_turned_in_an_image_wider_than_opencv_can_turn():
    wide = np.zeros((100, 40_000), np.uint8)
    wide[:, 39_950:] = 200
    crop = crop_face(wide, FaceBox(39_900, 0, 100, 100), 45.0)
    assert crop.min() == 0
    assert crop.max() == 200


def test_probabilities_are_a_softmax_at_a_temperature():
    logits = np.array([[0, 1, 2, 3, 4, 5, 6], [1000, 0, 0, 0, 0, 0, -1000]], dtype=np.float32)
    cold, warm = probabilities(logits, 1.0), probabilities(logits, 2.0)
    np.testing.assert_allclose(cold[0], np.exp(logits[0]) / np.exp(logits[0]).sum(), rtol=1e-6)
    np.testing.assert_allclose(cold.sum(axis=1), 1)
    np.testing.assert_allclose(cold[1], [1, 0, 0, 0, 0, 0, 0])
    assert warm[0].max() < cold[0].max()
    assert warm[0].argmax() == cold[0].argmax() == 6


def test_labels_are_in_fer2013_code_order():
    assert LABELS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
