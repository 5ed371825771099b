"""The decision of a network which candidates show a face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.contract.preprocess import crop_face
from app.domain import FaceBox
from app.vision.detection import FaceDetector
from app.vision.detection.acceptance import accept
from app.vision.detection.boxes import Square
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import Candidate
from tests.support.portrait import FACE, crop_around_face, load_portrait

IMAGE = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
PYRAMID = ImagePyramid(IMAGE)


class FakeVerifier:
    """Verifier that answers crops with these probabilities in turn, and records the crops it receives."""

    threshold = 0.3

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = probabilities
        self.crops = np.empty((0, 48, 48, 1), np.uint8)

    def face_probability(self, crops):
        self.crops = crops
        return np.resize(np.array(self.probabilities, np.float32), len(crops))


def candidate(left: float, hits: int = 9, degrees: float = 0.0) -> Candidate:
    return Candidate(Square(left, 20.0, 90.0, degrees), hits)


def test_candidates_below_the_threshold_are_dropped_and_others_get_their_probability():
    faces = accept(FakeVerifier(0.9, 0.29, 0.31), PYRAMID, [candidate(0, 9), candidate(100), candidate(200, 9, 20.0)])
    assert [face.box for face in faces] == [FaceBox(0, 20, 90, 90), FaceBox(200, 20, 90, 90)]
    assert [face.confidence for face in faces] == pytest.approx([0.9, 0.31])
    assert [face.roll_degrees for face in faces] == [None, 20.0]


def test_probability_is_the_mean_of_the_crop_and_its_mirror_image():
    verifier = FakeVerifier(0.9, 0.5)
    (face,) = accept(verifier, PYRAMID, [candidate(10, degrees=20.0)])
    crop = crop_face(IMAGE, FaceBox(10, 20, 90, 90), 20.0)
    assert face.confidence == pytest.approx(0.7)
    np.testing.assert_array_equal(verifier.crops, np.stack([crop, crop[:, ::-1]]))


def test_crop_of_a_large_place_shows_the_same_as_one_of_all_pixels():
    image = np.asarray(cv2.resize(load_portrait(), None, fx=6.3, fy=6.3), dtype=np.uint8)
    box = FaceBox(*(round(6.3 * value) for value in (FACE.x, FACE.y, FACE.width, FACE.width)))
    verifier = FakeVerifier(0.9)
    for degrees in (0.0, 20.0):
        accept(verifier, ImagePyramid(image), [Candidate(Square(box.x, box.y, box.width, degrees), 9)])
        difference = verifier.crops[0].astype(int) - crop_face(image, box, degrees)
        assert np.abs(difference).mean() < 2


@pytest.mark.parametrize(
    ("probabilities", "kept"),
    [
        ((0.8, 0.6), 1),  # both are likely: more hits
        ((0.8, 0.4), 0),  # only one is likely
        ((0.45, 0.4), 1),  # neither is likely: more hits
        ((0.8, 0.2), 0),  # only one is possible
    ],
)
def test_one_of_two_overlapping_candidates_is_kept(probabilities, kept):
    candidates = [candidate(100, 3), candidate(110, 30)]
    (face,) = accept(FakeVerifier(*probabilities), PYRAMID, candidates)
    assert face.box.x == (100, 110)[kept]
    assert face.confidence == pytest.approx(probabilities[kept])


def test_candidates_with_few_hits_are_dropped_without_the_network():
    verifier = FakeVerifier(1.0)
    assert accept(verifier, PYRAMID, [candidate(0, 2), candidate(100, 7, 20.0)]) == []
    assert accept(verifier, PYRAMID, []) == []
    assert len(verifier.crops) == 0
    assert len(accept(verifier, PYRAMID, [candidate(0, 3), candidate(100, 8, 20.0)])) == 2


@pytest.mark.parametrize(("probability", "count"), [(0.8, 1), (0.1, 0)])
def test_detector_asks_the_network(probability, count):
    around_face, _ = crop_around_face(load_portrait(), 3.0)  # elsewhere, the cascade alone accepts another place
    side_px = FACE.width
    faces = FaceDetector(FakeVerifier(probability)).detect(around_face)
    assert [face.box.overlap(FaceBox(side_px, FACE.y, side_px, side_px)) > 0.5 for face in faces] == [True] * count
    assert all(face.confidence == pytest.approx(probability) for face in faces)
