"""The decision of a network which boxes show a face."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.preprocess import crop_face
from app.domain import Detection, FaceBox
from app.vision.detection import FaceDetector, NetworkAcceptance
from tests.support.portrait import FACE, load_portrait

IMAGE = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
MANY_HITS = 100.0


class FakeVerifier:
    """Verifier with fixed answers that records the crops it receives."""

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
    np.testing.assert_array_equal(verifier.crops, np.stack([crop_face(IMAGE, box, 20.0) for box in boxes]))


def test_candidate_with_few_hits_is_dropped_without_the_network():
    verifier = FakeVerifier(1.0)
    assert NetworkAcceptance(verifier)(IMAGE, [Detection(FaceBox(10, 10, 96, 96), 2.0)]) == []
    assert NetworkAcceptance(verifier)(IMAGE, []) == []
    assert len(verifier.crops) == 0


@pytest.mark.parametrize(("probability", "count"), [(0.8, 1), (0.1, 0)])
def test_detector_asks_the_network(probability, count):
    faces = FaceDetector(NetworkAcceptance(FakeVerifier(probability))).detect(load_portrait())
    assert [face.box.overlap(FACE) > 0.5 for face in faces] == [True] * count
    assert all(face.confidence == pytest.approx(probability) for face in faces)
