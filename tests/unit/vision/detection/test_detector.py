"""`FaceDetector.detect` on a public-domain portrait and on images made of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from app.domain import FaceBox
from app.vision.detection import detector, search
from app.vision.detection.boxes import Square
from app.vision.detection.pyramid import mean_side
from tests.support.detection import make_face_detector
from tests.support.portrait import FACE, beside_smaller_copy, crop_around_face


def test_detect_finds_the_face_of_a_portrait(portrait):
    (found,) = make_face_detector().detect(portrait)
    assert found.box.overlap(FACE) > 0.7
    assert found.confidence > 0


def test_detect_returns_boxes_in_pixels_of_a_large_image(portrait):
    large = np.asarray(cv2.resize(portrait, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC))
    (found,) = make_face_detector().detect(large)
    assert found.box.overlap(FaceBox(FACE.x * 5, FACE.y * 5, FACE.width * 5, FACE.height * 5)) > 0.7


@pytest.mark.parametrize("side", [48, 96, 600])
def test_detect_finds_a_face_that_fills_the_image(portrait, side):
    # The crop is tighter than the cascade's window, so the face is found only with a border around it.
    face = portrait[FACE.y + 10 : FACE.y + FACE.height - 10, FACE.x + 10 : FACE.x + FACE.width - 10]
    image = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC))
    (found,) = make_face_detector().detect(image)
    assert found.box.overlap(FaceBox(0, 0, side, side)) > 0.6
    assert min(found.box.x, found.box.y) >= 0
    assert max(found.box.x + found.box.width, found.box.y + found.box.height) <= side


def test_detect_finds_a_large_face_that_a_corner_cuts_off(portrait):
    corner = np.ascontiguousarray(portrait[FACE.y + 10 : FACE.y + 130, FACE.x + 10 : FACE.x + 130])
    (found,) = make_face_detector().detect(corner)
    assert max(found.box.x, found.box.y) < 10
    assert found.box.overlap(FaceBox(0, 0, FACE.width - 10, FACE.height - 10)) > 0.5


def test_detect_verifies_a_face_only_once(portrait, monkeypatch):
    verify, calls = search.verify, []

    def recording(cascades, pyramid, proposals, *margin):
        calls.append(proposals)
        return verify(cascades, pyramid, proposals, *margin)

    monkeypatch.setattr(search, "verify", recording)
    large, _ = crop_around_face(portrait, 2.5)
    (found,) = make_face_detector().detect(large)
    first, *later = [
        sum(FaceBox(*map(round, (x, y, side, side))).overlap(found.box) > 0.4 for x, y, side, _ in proposals)
        for proposals in calls
    ]
    assert first == 1
    assert later  # the search for smaller faces
    assert sum(later) == 0


@pytest.fixture
def passes(monkeypatch) -> list[tuple[str, float, float | None]]:
    """Detection passes that ran: the cascade, and the smallest and the largest face as shares of the long side."""
    with_lbp, with_haar, ran = detector.propose_with_lbp, detector.propose_with_haar, []

    def recording_lbp(cascade, pyramid, min_face_share, max_face_share=None):
        ran.append(("lbp", min_face_share, max_face_share))
        return with_lbp(cascade, pyramid, min_face_share, max_face_share)

    def recording_haar(cascade, pyramid, min_face_share):
        ran.append(("haar", min_face_share, None))
        return with_haar(cascade, pyramid, min_face_share)

    monkeypatch.setattr(detector, "propose_with_lbp", recording_lbp)
    monkeypatch.setattr(detector, "propose_with_haar", recording_haar)
    return ran


def test_detect_large_face_takes_the_coarse_and_the_fine_pass(portrait, passes):
    image, share = crop_around_face(portrait, 2.5)
    (found,) = make_face_detector().detect(image)
    assert [cascade for cascade, _, _ in passes] == ["lbp", "lbp"]
    (_, coarse_share, _), (_, fine_share, _) = passes
    assert coarse_share < share < 2 * coarse_share
    assert fine_share == pytest.approx(found.box.width / mean_side(image) / 3)


def test_detect_webcam_face_takes_one_more_lbp_pass_and_no_haar_pass(portrait, passes):
    (found,) = make_face_detector().detect(portrait)
    share = found.box.width / mean_side(portrait)
    assert 0.16 < share < 0.24
    assert [cascade for cascade, _, _ in passes] == ["lbp"] * 3
    assert passes[2] == ("lbp", pytest.approx(share / 3), passes[1][1])


def test_detect_small_face_takes_a_haar_pass(portrait, passes):
    scene = np.full((900, 900), 128, dtype=np.uint8)
    scene[:512, :512] = portrait
    (found,) = make_face_detector().detect(scene)
    assert found.box.overlap(FACE) > 0.7
    assert [cascade for cascade, _, _ in passes] == ["lbp", "lbp", "haar"]


def test_detect_several_faces_take_a_haar_pass(portrait, passes):
    assert len(make_face_detector().detect(np.hstack([portrait, portrait]))) == 2
    assert passes[-1][0] == "haar"


def test_detect_finds_nothing_in_a_blank_image():
    assert make_face_detector().detect(np.full((480, 640), 128, dtype=np.uint8)) == []


@pytest.mark.parametrize("shape", [(8, 8), (8, 4000), (4000, 8), (20, 20)])
def test_detect_accepts_extreme_shapes(shape):
    assert make_face_detector().detect(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) == []


def test_detect_returns_the_largest_face_first_and_boxes_inside_the_image(portrait):
    scene = beside_smaller_copy(portrait, 0.6)
    found = make_face_detector().detect(scene)
    assert len(found) == 2
    assert found[0].box.area_px > found[1].box.area_px
    assert found[0].box.x > scene.shape[1] - portrait.shape[1]
    for face in found:
        assert min(face.box.x, face.box.y) >= 0
        assert face.box.x + face.box.width <= scene.shape[1]
        assert face.box.y + face.box.height <= scene.shape[0]


def test_detect_finds_faces_down_to_a_third_of_the_largest(portrait):
    def scene_with(share: float) -> np.ndarray:
        small = np.asarray(cv2.resize(portrait, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))
        scene = np.full((900, 1400), 128, dtype=np.uint8)
        large = np.asarray(cv2.resize(portrait, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC))
        scene[: large.shape[0], : large.shape[1]] = large
        scene[: small.shape[0], 1000 : 1000 + small.shape[1]] = small
        return scene

    # The large face takes 0.12 of the long side. A face of 0.45 times that is too small for the fine pass.
    assert len(make_face_detector().detect(scene_with(0.75))) == 2
    # A fifth of the large face is background.
    assert len(make_face_detector().detect(scene_with(0.3))) == 1


def test_detect_returns_the_same_boxes_from_many_threads(portrait):
    face_detector = make_face_detector()
    scenes = [np.ascontiguousarray(np.roll(portrait, shift, axis=1)) for shift in range(0, 160, 20)]
    sequential = [face_detector.detect(scene) for scene in scenes]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(face_detector.detect, scenes * 2)) == sequential * 2
    assert all(sequential)


LOW_CONTRAST = {f"level {level}": (level, 0) for level in (0.3, 0.2, 0.1, 0.06)} | {"haze": (0.1, 200)}


@pytest.mark.parametrize(("gain", "offset"), LOW_CONTRAST.values(), ids=LOW_CONTRAST)
def test_detect_finds_the_face_of_a_dark_or_hazy_portrait(portrait, gain, offset):
    image = np.round(portrait * gain + offset).astype(np.uint8)
    (found,) = make_face_detector().detect(image)
    assert found.box.overlap(FACE) > 0.6


@pytest.mark.parametrize("grey_level", [0, 3, 128, 255])
def test_detect_finds_no_face_in_an_image_of_one_level_or_of_faint_noise(grey_level):
    plain = np.full((240, 320), grey_level, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(-2, 3, size=plain.shape)
    assert make_face_detector().detect(plain) == []
    assert make_face_detector().detect((plain + noise).clip(0, 255).astype(np.uint8)) == []


def turned(image: np.ndarray, degrees: float) -> tuple[np.ndarray, FaceBox]:
    """Return the portrait, turned clockwise around the face, and the box of the face."""
    centre = FACE.x + FACE.width / 2, FACE.y + FACE.height / 2
    matrix = cv2.getRotationMatrix2D(centre, -degrees, 1.0)
    matrix[:, 2] += 130, 160
    copy = cv2.warpAffine(image, matrix, (770, 770), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(copy, dtype=np.uint8), FaceBox(FACE.x + 130, FACE.y + 160, FACE.width, FACE.height)


@pytest.mark.parametrize("degrees", [15, 20, 30, 45, 90, -15, -20, -30, -45, -90])
def test_detect_finds_a_turned_face_with_its_roll(portrait, degrees):
    image, box = turned(portrait, degrees)
    (found,) = make_face_detector().detect(image)
    assert found.box.overlap(box) > 0.5
    assert found.roll_degrees is None or abs(found.roll_degrees - degrees) <= 16
    assert abs(degrees) < 20 or found.roll_degrees is not None


def test_detect_names_no_roll_of_an_upright_face(portrait):
    (found,) = make_face_detector().detect(portrait)
    assert found.roll_degrees is None


def test_detect_searches_no_turned_copy_of_an_upright_portrait(portrait, monkeypatch):
    def fail(*_):
        raise AssertionError("no turned copy is needed")

    monkeypatch.setattr("app.vision.detection.turned.propose_with_haar", fail)
    assert len(make_face_detector().detect(portrait)) == 1


def test_detect_verifies_no_rejected_place_beside_a_large_upright_face(portrait, monkeypatch):
    verify, degrees = search.verify, []

    def recording(cascades, pyramid, proposals, *margin):
        degrees.extend(proposal.degrees for proposal in proposals)
        return verify(cascades, pyramid, proposals, *margin)

    monkeypatch.setattr(search, "verify", recording)
    monkeypatch.setattr(detector, "propose_with_lbp", lambda *_: [Square(150, 40, 150), Square(300, 300, 120)])
    assert len(make_face_detector().detect(portrait)) == 1
    assert set(degrees) == {0.0}


@pytest.mark.parametrize("degrees", [20, -20])
def test_detect_finds_a_tilted_head_beside_one_small_upright_face(portrait, degrees, monkeypatch):
    monkeypatch.setattr(search, "_MAX_REJECTED", 0)  # rejected upright proposals would also find it
    scene = np.hstack([portrait, turned(portrait, degrees)[0][:512, 50:562]])
    upright, tilted = sorted(make_face_detector().detect(scene), key=lambda face: face.box.x)
    assert upright.box.overlap(FACE) > 0.6
    assert upright.roll_degrees is None
    assert tilted.roll_degrees == pytest.approx(degrees, abs=16)


@pytest.mark.parametrize("side_px", [48, 64, 80, 96])
def test_detect_finds_the_face_of_an_avatar(portrait, side_px):
    part, _ = crop_around_face(portrait, 2.2)
    avatar = np.asarray(cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_AREA))
    (found,) = make_face_detector().detect(avatar)
    share = found.box.width / side_px
    assert 0.3 < share < 0.7


@pytest.mark.parametrize("shape", [(9000, 900), (900, 9000)])
def test_detect_finds_every_face_of_a_long_image(portrait, shape):
    image = np.full(shape, 230, dtype=np.uint8)
    tile = np.asarray(cv2.resize(portrait, (640, 640)))
    for start in (400, 2600, 4800, 7000):
        y, x = (start, 130) if shape[0] > shape[1] else (130, start)
        image[y : y + 640, x : x + 640] = tile
    assert len(make_face_detector().detect(image)) == 4
