"""The rules and the changed pictures of `python -m benchmarks.detection`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.config import Settings
from app.domain import FaceBox
from app.main import load_detector
from app.vision.decode import decode_grey
from benchmarks.detection import changes
from benchmarks.detection.cases import Case, Count, LabelledFace, count_boxes, parts_without_faces, portrait
from benchmarks.judged_boxes import judgements

FACE = FaceBox(100, 100, 80, 100)
CASE = Case("a", np.zeros((400, 600), np.uint8), (LabelledFace(FACE),), optional=(FaceBox(400, 0, 100, 200),))


@pytest.mark.parametrize(
    ("boxes", "found", "false"),
    [
        ([], 0, 0),
        ([FaceBox(100, 110, 80, 80)], 1, 0),
        ([FaceBox(100, 110, 80, 80), FaceBox(105, 110, 80, 80)], 1, 1),  # the second box on one face
        ([FaceBox(100, 150, 80, 80)], 0, 1),  # more than a third of the height away
        ([FaceBox(120, 130, 40, 40)], 0, 1),  # less than half the height
        ([FaceBox(420, 50, 60, 60)], 0, 0),  # the centre is inside a partial face
    ],
)
def test_every_box_that_is_not_the_one_box_of_a_face_is_false(boxes, found, false):
    assert count_boxes(CASE, boxes) == Count(found, 1, false, 1)


def test_overlap_rule_of_the_photographs():
    face = LabelledFace(FaceBox(0, 0, 100, 100), by_overlap=True)
    assert face.is_found_by(FaceBox(10, 10, 100, 100))
    assert not face.is_found_by(FaceBox(40, 40, 100, 100))


@pytest.mark.parametrize("degrees", [15, -30, 90])
def test_turned_pictures_carry_the_places_of_their_faces(degrees):
    image = np.zeros((400, 600), np.uint8)
    image[130:170, 120:160] = 255  # the centre of the face
    (case,) = changes.turned([Case("a", image, (LabelledFace(FACE),))], degrees)
    (face,) = case.faces
    ys, xs = np.nonzero(case.image > 128)
    assert xs.mean() == pytest.approx(face.box.x + face.box.width / 2, abs=1.5)
    assert ys.mean() == pytest.approx(face.box.y + face.box.height / 2, abs=1.5)
    assert face.roll_degrees == degrees


def test_avatars_show_upright_faces_in_the_middle():
    tilted = LabelledFace(FaceBox(300, 100, 80, 100), roll_degrees=15)
    (case,) = changes.avatars([Case("a", CASE.image, (LabelledFace(FACE), tilted))], 110)
    assert case.image.shape == (110, 110)
    assert case.faces[0].box.height == 50
    assert len(case.optional) == 1


@pytest.mark.parametrize(("is_wide", "shape"), [(False, (9000, 900)), (True, (900, 9000))])
def test_long_pictures_have_four_portraits(is_wide, shape):
    large = Case("a", np.zeros((800, 800), np.uint8), (LabelledFace(FaceBox(300, 300, 160, 160)),))
    (case,) = changes.long_pictures([large] * 4, is_wide)
    assert case.image.shape == shape
    assert len(case.faces) == 4
    for face in case.faces:
        assert case.image[face.box.y : face.box.y + 100, face.box.x : face.box.x + 100].max() == 0


def test_parts_without_faces_leave_out_every_known_face():
    for part in parts_without_faces([Case("a", np.full((400, 600), 9, np.uint8), (LabelledFace(FACE),))]):
        assert part.faces == ()
        assert min(part.image.shape) >= 100


def test_judged_boxes_of_a_portrait_show_its_face_and_leave_the_detector_as_it_was():
    detector = load_detector(Settings(detector="haar"))
    case = portrait(lambda content: decode_grey(content, 10**8))
    elsewhere = replace(case, faces=(LabelledFace(FaceBox(0, 0, 20, 20)),))
    before = detector.detect(case.image)
    judged = judgements(detector, [case])
    assert judged
    assert all(shows_face for probability, shows_face in judged if probability > 0.9)
    assert not any(shows_face for _, shows_face in judgements(detector, [elsewhere]))
    assert detector.detect(case.image) == before
    assert len(judgements(detector, [case])) == len(judged)
