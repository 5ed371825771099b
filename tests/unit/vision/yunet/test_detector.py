"""YuNet on photographs: found faces, roll, light, size, colour, and the model file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from app.domain import FaceBox
from app.vision.yunet import DetectorModelError, YuNetDetector
from tests.support.images import ASTRONAUT
from tests.support.paths import YUNET, needs_yunet
from tests.support.portrait import FACE

PORTRAIT = cv2.cvtColor(cv2.imread(str(ASTRONAUT)), cv2.COLOR_BGR2RGB)
CENTRE = FACE.x + FACE.width / 2, FACE.y + FACE.height / 2


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    if not YUNET.is_file():
        pytest.skip(f"there is no YuNet model at {YUNET}")
    return YuNetDetector(YUNET)


def grey_of(colour: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)


def detect(detector: YuNetDetector, colour: np.ndarray):
    return detector.detect(grey_of(colour), colour)


def turned(degrees: float) -> np.ndarray:
    """Return the portrait, turned clockwise around the face."""
    matrix = cv2.getRotationMatrix2D(CENTRE, -degrees, 1.0)  # OpenCV's angle is to the left
    return cv2.warpAffine(PORTRAIT, matrix, PORTRAIT.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_finds_the_face_with_its_landmarks(detector):
    (face,) = detect(detector, PORTRAIT)
    assert face.box.overlap(FACE) > 0.5
    assert 0.8 < face.confidence <= 1
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert FACE.x < right_eye.x < nose.x < left_eye.x < FACE.x + FACE.width
    assert FACE.y < right_eye.y < nose.y < min(right_mouth.y, left_mouth.y) < FACE.y + FACE.height
    assert right_mouth.x < left_mouth.x
    assert abs(face.roll_degrees) < 15


@pytest.mark.parametrize("degrees", [-90, -45, -30, 30, 45, 90, 180])
def test_finds_a_turned_face_and_its_roll(detector, degrees):
    ((upright,), (face,)) = detect(detector, PORTRAIT), detect(detector, turned(degrees))
    assert face.box.overlap(upright.box) > 0.7
    difference = (face.roll_degrees - upright.roll_degrees - degrees + 180) % 360 - 180
    assert abs(difference) < 12


@pytest.mark.parametrize(("gain", "offset"), [(0.2, 0), (0.1, 0), (0.06, 0), (0.1, 200)])
def test_finds_a_face_in_the_dark_and_in_haze(detector, gain, offset):
    (face,) = detect(detector, (PORTRAIT * gain + offset).round().astype(np.uint8))
    assert face.box.overlap(FACE) > 0.5


@pytest.mark.parametrize("side_px", [48, 64, 100])
def test_finds_a_face_in_a_small_picture(detector, side_px):
    part = PORTRAIT[10:250, 110:350]
    small = cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_AREA)
    (face,) = detect(detector, small)
    scale = side_px / 240
    expected = FaceBox(*(round(value * scale) for value in (FACE.x - 110, FACE.y - 10, FACE.width, FACE.height)))
    assert face.box.overlap(expected) > 0.4


def test_finds_small_faces_beside_each_other(detector):
    tile = cv2.resize(PORTRAIT, (150, 150), interpolation=cv2.INTER_AREA)
    faces = detect(detector, np.tile(tile, (7, 12, 1)))
    found = {(face.box.x // 150, face.box.y // 150) for face in faces if face.box.y % 150 < 40}
    assert len(found) == 84
    assert len(faces) <= 86  # two seams between the copies look like faces


@pytest.mark.parametrize("shape", [(8, 8), (8, 3000), (3000, 8), (1, 1), (64, 64)])
def test_finds_nothing_in_a_plain_image_of_any_shape(detector, shape):
    assert detector.detect(np.full(shape, 120, np.uint8)) == []


def test_a_grey_image_and_a_reduced_colour_image_give_about_the_same_box(detector):
    grey = grey_of(PORTRAIT)
    (with_colour,) = detect(detector, PORTRAIT)
    (without,) = detector.detect(grey)
    (reduced,) = detector.detect(grey, cv2.resize(PORTRAIT, (256, 256), interpolation=cv2.INTER_AREA))
    assert with_colour.box.overlap(without.box) > 0.85
    assert with_colour.box.overlap(reduced.box) > 0.85


def test_boxes_are_inside_the_image_and_largest_first(detector):
    part = PORTRAIT[:, FACE.x + 20 :]  # the face is cut by the left edge
    both = np.hstack([part, cv2.resize(part, None, fx=0.7, fy=0.7)[: part.shape[0]].repeat(2, axis=0)[: part.shape[0]]])
    faces = detect(detector, np.ascontiguousarray(both))
    assert faces
    assert [face.box.area_px for face in faces] == sorted((face.box.area_px for face in faces), reverse=True)
    for face in faces:
        assert face.box.x >= 0
        assert face.box.y >= 0
        assert face.box.x + face.box.width <= both.shape[1]
        assert face.box.y + face.box.height <= both.shape[0]


def test_track_finds_the_known_face_and_searches_everywhere_if_a_face_is_missing(detector):
    grey = grey_of(PORTRAIT)
    (known,) = detector.detect(grey, PORTRAIT)
    (tracked,) = detector.track(grey, [known.box], PORTRAIT)
    assert tracked.box.overlap(known.box) > 0.9
    upside_down = np.ascontiguousarray(PORTRAIT[::-1, ::-1])
    assert detector.track(grey_of(upside_down), [known.box], upside_down) == detect(detector, upside_down) != []


def test_threads_get_the_same_faces(detector):
    images = [turned(degrees) for degrees in (0, 10, -20, 30)] * 4
    expected = [detect(detector, image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda image: detect(detector, image), images)) == expected


@needs_yunet
def test_another_model_file_is_refused_with_both_digests(tmp_path):
    damaged = tmp_path / "yunet.onnx"
    damaged.write_bytes(YUNET.read_bytes()[:-1] + b"\0")
    with pytest.raises(DetectorModelError, match=r"sha256 8f2383e4dd3c.*Received: sha256 [0-9a-f]{64}"):
        YuNetDetector(damaged)


def test_a_missing_model_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(DetectorModelError, match=r"absent\.onnx\. Received: No such file"):
        YuNetDetector(tmp_path / "absent.onnx")
