"""The vision stages on JPEGs that are decoded smaller: boxes in full pixels, crops with the pixels of the original."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from app.contract.preprocess import crop_face, resize_to_crop
from app.domain import Detection, FaceBox, Point, PredictOptions
from app.engine.vision_stages import run_vision_stages
from app.vision.decode import decode_grey
from tests.support.detection import make_face_detector
from tests.support.image_files import encode
from tests.support.portrait import FACE, load_portrait

MAX_PIXELS = 40_000_000
SIZE = (4000, 3000)  # decoded at 1/2


class FixedDetector:
    """Detector that returns given faces, and records what it receives."""

    def __init__(self, *faces: Detection) -> None:
        self.faces, self.shape, self.known = list(faces), None, None

    def detect(self, grey):
        self.shape = grey.shape
        return self.faces

    def track(self, grey, known):
        self.known = list(known)
        return self.detect(grey)


def photograph(left: int, top: int, zoom: float, size: tuple[int, int] = SIZE, **options) -> tuple[bytes, FaceBox]:
    """Return a JPEG with the portrait at a place and a zoom, and the box of its face."""
    matrix = np.array([[zoom, 0, left], [0, zoom, top]])
    scene = cv2.warpAffine(load_portrait(), matrix, size, borderMode=cv2.BORDER_REPLICATE)
    x, y, side = (round(value * zoom) for value in (FACE.x, FACE.y, FACE.width))
    return encode(Image.fromarray(scene), "JPEG", **options), FaceBox(left + x, top + y, side, side)


def difference(crop: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(crop.astype(int) - other).mean())


@pytest.mark.parametrize("size", [(4032, 3024), (8064, 6048), (16320, 12240)])
def test_large_photograph_has_its_face_in_pixels_of_the_full_image(size):
    data, face = photograph(round(size[0] * 0.4), round(size[1] * 0.1), size[1] / 640, size)
    result = run_vision_stages(data, PredictOptions(), make_face_detector(), MAX_PIXELS, None)
    assert (result.width_px, result.height_px) == size
    assert result.faces[0].box.overlap(face) > 0.6


def test_large_photograph_gives_nearly_the_crop_of_the_full_image():
    data, _ = photograph(900, 300, 3.0)
    (found,) = run_vision_stages(data, PredictOptions(), make_face_detector(), MAX_PIXELS, None).faces
    assert difference(found.crop, crop_face(decode_grey(data, MAX_PIXELS), found.box)) < 2


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_turned_large_photograph_has_boxes_in_the_upright_image(orientation):
    data, face = photograph(900, 300, 3.0)
    stored = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encode(Image.fromarray(decode_grey(data, MAX_PIXELS)).transpose(stored), "JPEG", exif=exif)
    result = run_vision_stages(turned, PredictOptions(), make_face_detector(), MAX_PIXELS, None)
    assert (result.width_px, result.height_px) == SIZE
    assert result.faces[0].box.overlap(face) > 0.6


@pytest.mark.parametrize("side", [20, 47, 60, 90])
def test_small_face_is_cropped_from_the_full_image(side):
    data, _ = photograph(1000, 800, side / FACE.width, quality=95)
    box = FaceBox(1000 + round(FACE.x * side / FACE.width), 800 + round(FACE.y * side / FACE.width), side, side)
    even = FaceBox(box.x // 2 * 2, box.y // 2 * 2, side // 2 * 2, side // 2 * 2)
    detector = FixedDetector(Detection(even.scaled(0.5), 1.0))
    (found,) = run_vision_stages(data, PredictOptions(), detector, MAX_PIXELS, None).faces
    assert detector.shape == (1500, 2000)
    assert found.box == even
    np.testing.assert_array_equal(found.crop, crop_face(decode_grey(data, MAX_PIXELS), even))


def test_large_face_beside_a_small_face_is_cropped_from_the_reduced_image():
    data, _ = photograph(900, 300, 3.0)
    faces = [Detection(FaceBox(700, 250, 144, 144), 1.0), Detection(FaceBox(10, 10, 30, 30), 1.0)]
    large, small = run_vision_stages(data, PredictOptions(), FixedDetector(*faces), MAX_PIXELS, None).faces
    assert (large.box, small.box) == (FaceBox(1400, 500, 288, 288), FaceBox(20, 20, 60, 60))
    full = decode_grey(data, MAX_PIXELS)
    assert 0 < difference(large.crop, crop_face(full, large.box)) < 1.5
    np.testing.assert_array_equal(small.crop, crop_face(full, small.box))


def test_small_face_is_cropped_from_the_reduced_image_where_the_limit_allows_no_more():
    data, _ = photograph(900, 300, 3.0)
    detector = FixedDetector(Detection(FaceBox(10, 10, 30, 30), 1.0))
    (found,) = run_vision_stages(data, PredictOptions(), detector, SIZE[0] * SIZE[1] - 1, None).faces
    assert found.box == FaceBox(20, 20, 60, 60)


def test_options_boxes_and_landmarks_are_in_pixels_of_the_full_image():
    data, _ = photograph(900, 300, 3.0, (4001, 3001))
    points = tuple(Point(float(value), 7.5) for value in range(5))
    faces = [Detection(FaceBox(1901, 1400, 100, 100), 1.0, 15.0, points), Detection(FaceBox(0, 0, 99, 99), 1.0)]
    options = PredictOptions(min_face_size_px=200)
    (found,) = run_vision_stages(data, options, FixedDetector(*faces), MAX_PIXELS, None).faces
    assert found.box == FaceBox(3801, 2800, 200, 200)  # moved into the image by one pixel
    assert found.landmarks == tuple(Point(point.x * 2, 15.0) for point in points)
    assert found.roll_degrees == 15.0


def test_known_faces_of_a_stream_are_given_in_pixels_of_the_decoded_image():
    data, face = photograph(900, 300, 3.0)
    detector = FixedDetector(Detection(FaceBox(100, 200, 60, 60), 1.0))
    run_vision_stages(data, PredictOptions(), detector, MAX_PIXELS, [FaceBox(200, 400, 120, 120)])
    assert detector.known == [FaceBox(100, 200, 60, 60)]
    tracked = run_vision_stages(data, PredictOptions(), make_face_detector(), MAX_PIXELS, [face]).faces
    assert tracked[0].box.overlap(face) > 0.6


@pytest.mark.parametrize("size", [(191, 4000), (400, 400), (1600, 1600)])
def test_large_crop_of_a_face_gives_nearly_the_same_input(size):
    data = encode(Image.fromarray(cv2.resize(load_portrait()[60:170, 170:280], size)), "JPEG")
    result = run_vision_stages(data, PredictOptions(detect=False), FixedDetector(), MAX_PIXELS, None)
    assert (result.faces[0].box, result.width_px, result.height_px) == (FaceBox(0, 0, *size), *size)
    assert difference(result.faces[0].crop, resize_to_crop(decode_grey(data, MAX_PIXELS))) < 1
