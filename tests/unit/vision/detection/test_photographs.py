"""The rule that counts found faces and false boxes on photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.domain import FaceBox
from tests.support.photographs import Photograph, count_found

PHOTOGRAPH = Photograph(
    Path("photograph.jpg"),
    np.zeros((100, 300), np.uint8),
    faces=(FaceBox(0, 0, 50, 50),),
    partial_faces=(FaceBox(200, 0, 50, 100),),
)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], (0, 0)),
        ([FaceBox(5, 5, 50, 50)], (1, 0)),
        ([FaceBox(5, 5, 50, 50), FaceBox(100, 0, 50, 50)], (1, 1)),
        ([FaceBox(190, 30, 50, 50)], (0, 0)),  # centre inside the partial face
        ([FaceBox(160, 30, 50, 50)], (0, 1)),  # centre outside
    ],
)
def test_count_found_ignores_boxes_on_partial_faces_and_counts_every_other_false_box(boxes, expected):
    assert count_found(PHOTOGRAPH, boxes) == expected
