"""The decision of a network which boxes show a face."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.preprocess import crop_face
from app.domain import Detection, FaceBox
from app.vision.detection import FaceDetector, NetworkAcceptance
from app.vision.detection.acceptance import accept_by_hits
from tests.support.portrait import FACE, load_portrait

IMAGE = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
BOX = FaceBox(10, 10, 96, 96)
MANY_HITS = 100.0


class FakeVerifier:
    """Verifier that answers crops with these probabilities in turn, and records the crops it receives."""

    threshold = 0.3

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = probabilities
        self.crops = np.empty((0, 48, 48, 1), np.uint8)

    def face_probability(self, crops):
        self.crops = crops
        return np.resize(np.array(self.probabilities, np.float32), len(crops))


def test_candidates_below_the_threshold_are_dropped_and_others_get_their_probability():
    boxes = [FaceBox(10 * number, 20, 96, 96) for number in range(3)]
    verifier = FakeVerifier(0.9, 0.29, 0.31)
    faces = NetworkAcceptance(verifier)(IMAGE, [Detection(box, MANY_HITS, 20.0) for box in boxes])
    assert [face.box for face in faces] == [boxes[0], boxes[2]]
    assert [face.confidence for face in faces] == pytest.approx([0.9, 0.31])
    assert faces[0].roll_degrees == 20.0


def test_probability_is_the_mean_of_the_crop_and_its_mirror_image():
    verifier = FakeVerifier(0.9, 0.5)
    (face,) = NetworkAcceptance(verifier)(IMAGE, [Detection(BOX, MANY_HITS, 20.0)])
    crop = crop_face(IMAGE, BOX, 20.0)
    assert face.confidence == pytest.approx(0.7)
    np.testing.assert_array_equal(verifier.crops, np.stack([crop, crop[:, ::-1]]))


def test_network_accepts_a_candidate_that_has_too_few_hits_without_it():
    candidate = Detection(BOX, 4.0)
    assert accept_by_hits(IMAGE, [candidate]) == []
    assert len(NetworkAcceptance(FakeVerifier(0.7))(IMAGE, [candidate])) == 1


def test_candidate_without_hits_is_dropped_without_the_network():
    verifier = FakeVerifier(1.0)
    assert NetworkAcceptance(verifier)(IMAGE, [Detection(BOX, 1.0)]) == []
    assert NetworkAcceptance(verifier)(IMAGE, []) == []
    assert len(verifier.crops) == 0


@pytest.mark.parametrize(("probability", "count"), [(0.8, 1), (0.1, 0)])
def test_detector_asks_the_network(probability, count):
    faces = FaceDetector(NetworkAcceptance(FakeVerifier(probability))).detect(load_portrait())
    assert [face.box.overlap(FACE) > 0.5 for face in faces] == [True] * count
    assert all(face.confidence == pytest.approx(probability) for face in faces)
