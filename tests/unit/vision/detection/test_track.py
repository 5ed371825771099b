"""`FaceDetector.track`: detection near the faces of the previous frame."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain import FaceBox
from app.vision.detection import detector
from tests.support.detection import make_face_detector
from tests.support.paths import SHARED_DATA, needs_shared_data
from tests.support.photographs import load_photographs
from tests.support.portrait import FACE, beside_smaller_copy, shifted


@pytest.mark.parametrize(("x", "y", "zoom"), [(0, 0, 1.0), (30, -20, 1.0), (-25, 10, 1.1), (20, 20, 0.9)])
def test_track_finds_a_moved_face_without_a_search_of_the_whole_image(portrait, x, y, zoom, monkeypatch):
    face_detector = make_face_detector()
    known = [face.box for face in face_detector.detect(portrait)]
    moved = shifted(portrait, x, y, zoom)
    detected = face_detector.detect(moved)[0]
    for search in ("propose_with_lbp", "propose_with_haar", "propose_with_border"):
        monkeypatch.setattr(detector, search, lambda *_: pytest.fail("searched the whole image"))
    (tracked,) = face_detector.track(moved, known)
    assert tracked.box.overlap(detected.box) > 0.8


def test_track_finds_a_face_that_jumped(portrait):
    (tracked,) = make_face_detector().track(portrait, [FaceBox(380, 380, 96, 96)])
    assert tracked.box.overlap(FACE) > 0.7


def test_track_finds_a_small_face_that_jumped(portrait):
    face_detector = make_face_detector()
    scene = beside_smaller_copy(portrait, 0.4)
    small = face_detector.detect(scene)[1].box
    assert small.width < 0.1 * max(scene.shape)  # too small for the passes that run without known faces
    away = FaceBox(scene.shape[1] - small.width, scene.shape[0] - small.height, small.width, small.height)
    assert any(face.box.overlap(small) > 0.7 for face in face_detector.track(scene, [away]))


def test_track_finds_new_large_faces_but_no_new_small_ones(portrait):
    scene = beside_smaller_copy(portrait, 0.4)
    large, small = make_face_detector().detect(scene)
    (new,) = make_face_detector().track(scene, [])
    assert new.box.overlap(large.box) > 0.7
    (tracked,) = make_face_detector().track(scene, [small.box])
    assert tracked.box.overlap(small.box) > 0.7


def test_track_merges_two_known_boxes_on_one_face(portrait):
    assert len(make_face_detector().track(portrait, [FACE, FaceBox(FACE.x + 20, FACE.y, 96, 96)])) == 1


def test_track_does_not_find_a_face_that_left():
    assert make_face_detector().track(np.full((480, 640), 128, dtype=np.uint8), [FACE]) == []


@pytest.mark.parametrize("box", [FaceBox(600, 600, 96, 96), FaceBox(500, 0, 5, 5), FaceBox(0, 0, 2000, 2000)])
def test_track_accepts_boxes_outside_the_image(portrait, box):
    (tracked,) = make_face_detector().track(portrait, [box])
    assert tracked.box.overlap(FACE) > 0.7


@needs_shared_data
def test_track_loses_no_face_of_the_photographs_after_a_small_movement():
    face_detector = make_face_detector()
    generator = np.random.default_rng(0)
    for photograph in load_photographs(SHARED_DATA / "photos"):
        known = [face.box for face in face_detector.detect(photograph.grey)]
        side = max((box.width for box in known), default=0)
        x, y = (generator.uniform(-0.2, 0.2, 2) * side).round().astype(int)
        moved = shifted(photograph.grey, int(x), int(y))
        tracked = [face.box for face in face_detector.track(moved, known)]
        for face in face_detector.detect(moved):
            assert any(face.box.overlap(box) > 0.5 for box in tracked), photograph.path.name
