"""Verification and acceptance of proposals."""

from __future__ import annotations

import numpy as np

from app.domain import Detection, FaceBox
from app.vision.detection import FaceDetector, cascades
from app.vision.detection.acceptance import accept_by_hits
from app.vision.detection.boxes import Square
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import verify
from tests.support.portrait import FACE

THREAD_CASCADES = cascades.ThreadLocalCascades()


def test_a_face_has_many_hits_and_other_places_have_few(portrait):
    places = [Square(x, y, 96) for x in range(0, 400, 48) for y in range(200, 400, 48)]
    face = verify(THREAD_CASCADES.get(), ImagePyramid(portrait), [Square(FACE.x, FACE.y, FACE.width)]).candidates[0]
    others = verify(THREAD_CASCADES.get(), ImagePyramid(portrait), places).candidates
    assert face.box.overlap(FACE) > 0.7
    assert face.weight >= 30
    assert max((other.weight for other in others), default=0) < 12


def test_a_place_with_few_hits_is_rejected_and_returned(portrait):
    place = Square(20, 300, 96)
    assert verify(THREAD_CASCADES.get(), ImagePyramid(portrait), [place]) == ([], [place])


def test_a_place_outside_the_image_is_ignored(portrait):
    assert verify(THREAD_CASCADES.get(), ImagePyramid(portrait), [Square(2000, 10, 96)]) == ([], [])


def test_a_small_or_turned_box_needs_more_hits_than_a_large_upright_one():
    image = np.zeros((1000, 1000), np.uint8)
    large, small = FaceBox(0, 0, 300, 300), FaceBox(500, 500, 60, 60)
    weak = [Detection(large, 20), Detection(small, 20), Detection(large, 20, roll_degrees=20.0)]
    assert accept_by_hits(image, weak) == weak[:1]
    strong = [Detection(large, 45), Detection(small, 45), Detection(large, 45, roll_degrees=20.0)]
    assert accept_by_hits(image, strong) == strong


def test_the_acceptance_decides_which_candidates_are_faces(portrait):
    asked = []

    def accept_none(image, candidates):
        asked.extend(candidates)
        return []

    assert FaceDetector(accept_none).detect(portrait) == []
    assert any(candidate.box.overlap(FACE) > 0.7 for candidate in asked)
