"""Faces found and false boxes on the photographs and the generated scenes of the shared data."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain import FaceBox
from benchmarks.detection.detectors import HAAR, make_detector
from benchmarks.whole_image import FULL_SIZE_PX, OnePass, kept_share, make_scenes
from tests.support.paths import SHARED_DATA, needs_shared_data
from tests.support.photographs import count_found, load_photographs
from tests.support.scenes import SAME_FACE


@needs_shared_data
def test_detect_finds_every_face_of_the_photographs_and_no_false_box():
    face_detector = make_detector(HAAR)
    missed, false = [], []
    for photograph in load_photographs(SHARED_DATA / "photos"):
        boxes = [detection.box for detection in face_detector.detect(photograph.grey)]
        found, false_count = count_found(photograph, boxes)
        missed += [photograph.path.name] * (len(photograph.faces) - found)
        false += [photograph.path.name] * false_count
    assert missed == []
    assert false == []


@needs_shared_data
@pytest.mark.parametrize(("kind", "share"), [("groups", 0.9), ("mixed", 0.9), ("singles", 0.9)])
def test_detect_finds_the_faces_that_slow_searches_find(kind, share):
    counts = {"groups": 0, "mixed": 0, "singles": 0} | {kind: {"groups": 10, "mixed": 25, "singles": 40}[kind]}
    scenes = getattr(make_scenes(SHARED_DATA / "fer2013.zip", **counts), kind)
    slow = OnePass(working_size_px=FULL_SIZE_PX if kind == "groups" else 640)
    reference = [(scene, _found_boxes(slow, scene, boxes)) for scene, boxes in scenes]
    wanted = sum(len(boxes) for _, boxes in reference)
    kept, _, false = kept_share(make_detector(HAAR), scenes, reference)
    assert wanted > 20
    assert kept >= share * wanted
    assert false <= 0.2 * wanted


def _found_boxes(slow: OnePass, scene: np.ndarray, boxes: list[FaceBox]) -> list[FaceBox]:
    found = [face.box for face in slow.detect(scene)]
    return [box for box in boxes if any(box.overlap(candidate) >= SAME_FACE for candidate in found)]
