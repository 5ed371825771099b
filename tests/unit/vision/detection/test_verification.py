"""Verification of proposals."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.vision.detection.boxes import Square, to_box
from app.vision.detection.cascades import ThreadLocalCascades
from app.vision.detection.pyramid import ImagePyramid
from app.vision.detection.verification import verify
from tests.support.portrait import FACE

HAAR = ThreadLocalCascades().get().haar
PLACE = Square(FACE.x, FACE.y, FACE.width)


def test_a_face_has_many_hits_and_other_places_have_few(portrait):
    places = [Square(x, y, 96) for x in range(0, 400, 48) for y in range(200, 400, 48)]
    (face,) = verify(HAAR, ImagePyramid(portrait), [PLACE]).candidates
    others = verify(HAAR, ImagePyramid(portrait), places).candidates
    assert to_box(face.square, portrait).overlap(FACE) > 0.7
    assert face.hits >= 30
    assert max((other.hits for other in others), default=0) < 12


@pytest.mark.parametrize("degrees", [15, -20])
def test_an_uncertain_face_is_also_searched_at_other_rolls(portrait, degrees):
    centre = FACE.x + FACE.width / 2, FACE.y + FACE.height / 2
    matrix = cv2.getRotationMatrix2D(centre, -degrees, 1.0)
    turned = np.asarray(cv2.warpAffine(portrait, matrix, portrait.shape, borderMode=cv2.BORDER_REPLICATE))
    candidates = verify(HAAR, ImagePyramid(turned), [PLACE]).candidates
    best = max(candidates, key=lambda candidate: candidate.hits)
    assert best.square.degrees == pytest.approx(np.copysign(15, degrees))
    assert {candidate.square.degrees for candidate in candidates} > {best.square.degrees}


def test_a_place_without_hits_is_rejected_and_returned(portrait):
    place = Square(20, 300, 96)
    assert verify(HAAR, ImagePyramid(portrait), [place]) == ([], [place])


def test_a_place_outside_the_image_is_ignored(portrait):
    assert verify(HAAR, ImagePyramid(portrait), [Square(2000, 10, 96)]) == ([], [])
