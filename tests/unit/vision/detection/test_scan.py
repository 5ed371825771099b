"""The search of rejected places with the face verifier."""

from __future__ import annotations

import numpy as np
import pytest

from app.vision.detection import FaceDetector, NetworkScan
from app.vision.detection.boxes import Square
from app.vision.detection.cascades import ThreadLocalCascades
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.scan import large_places
from app.vision.detection.search import Search
from tests.support.portrait import FACE, load_portrait

PLACE = Square(100, 100, 96)
FACE_IN_IMAGE = Square(110, 92, 96)  # 10 px to the right of the place and 8 px above


class FakeVerifier:
    """Verifier that gives every crop the probability that a function returns."""

    threshold = 0.3

    def __init__(self, probability):
        self.probability = probability
        self.count = 0

    def face_probability(self, crops):
        self.count += len(crops)
        return np.array([self.probability(crop) for crop in crops], np.float32)


def image_with_white_face() -> np.ndarray:
    image = np.zeros((300, 400), np.uint8)
    left, top, side = (int(value) for value in FACE_IN_IMAGE[:3])
    image[top : top + side, left : left + side] = 255
    return image


def is_white(crop: np.ndarray) -> float:
    return float(crop.mean() > 190)


def test_box_moves_to_the_crops_that_the_network_accepts():
    (face,) = NetworkScan(FakeVerifier(is_white))(ImagePyramid(image_with_white_face()), [PLACE], True)
    assert face.box.x + face.box.width / 2 > PLACE.centre[0] + 3
    assert face.box.y + face.box.height / 2 < PLACE.centre[1] - 3
    assert 0.5 <= face.confidence <= 1
    assert face.roll_degrees is None


def test_one_accepted_crop_is_no_face():
    def probability(crop: np.ndarray) -> float:
        return float(crop[4, 4, 0] == crop[44, 44, 0] == 255)

    image = image_with_white_face()
    image[120:170, 120:190] = 0
    assert NetworkScan(FakeVerifier(probability))(ImagePyramid(image), [PLACE], True) == []


@pytest.mark.parametrize(
    ("is_proposed", "degrees", "count"), [(True, 0.0, 1), (False, 0.0, 0), (True, 20.0, 0), (True, 45.0, 0)]
)
def test_unproposed_and_turned_places_need_a_higher_probability(is_proposed, degrees, count):
    scan = NetworkScan(FakeVerifier(lambda crop: 0.55))
    place = PLACE._replace(degrees=degrees)
    assert len(scan(ImagePyramid(image_with_white_face()), [place], is_proposed)) == count


def test_places_inside_a_known_face_are_not_scanned():
    verifier = FakeVerifier(lambda crop: 0.9)
    search = Search(
        ThreadLocalCascades().get(), ImagePyramid(image_with_white_face()), lambda *_: [], NetworkScan(verifier)
    )
    search.scan([PLACE])
    assert len(search.faces) == 1
    count = verifier.count
    search.scan([Square(130, 130, 30)])
    assert len(search.faces) == 1
    assert verifier.count == count


def test_large_places_cover_the_image():
    image = np.zeros((480, 640), np.uint8)
    covered = np.zeros(image.shape, bool)
    for place in large_places(ImagePyramid(image)):
        left, top, side = round(place.left), round(place.top), round(place.side)
        assert left >= 0
        assert top >= 0
        assert left + side <= 641
        assert top + side <= 481
        covered[top : top + side, left : left + side] = True
    assert covered.all()


def test_detector_scans_places_that_the_hits_reject():
    verifier = FakeVerifier(lambda crop: 0.9)
    faces = FaceDetector(lambda image, candidates: [], NetworkScan(verifier)).detect(load_portrait())
    assert any(face.box.overlap(FACE) > 0.5 for face in faces)
    assert FaceDetector(lambda image, candidates: []).detect(load_portrait()) == []
