"""The Haar detector on a public-domain portrait, and on the real photographs and scenes where they are at hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

import app.vision.detection.detector as detect_module
from app.domain import FaceBox
from app.vision.decode import decode_grey
from app.vision.detection.detector import FaceDetector, _Octaves
from benchmarks.detection import FULL_SIZE_PX, OnePass, kept_share, make_scenes
from tests.support.images import ASTRONAUT
from tests.support.paths import SHARED_DATA, needs_shared_data
from tests.support.photographs import count_found, load_photographs
from tests.support.scenes import SAME_FACE

FACE = FaceBox(176, 66, 96, 96)  # of the portrait, seen by eye


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return decode_grey(ASTRONAUT.read_bytes(), 10_000_000)


def test_detect_portrait_finds_the_one_face(portrait):
    (found,) = FaceDetector().detect(portrait)
    assert found.box.overlap(FACE) > 0.7
    assert found.weight > 0


def test_detect_large_image_gives_boxes_in_its_own_pixels(portrait):
    large = np.asarray(cv2.resize(portrait, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC))
    (found,) = FaceDetector().detect(large)
    assert found.box.overlap(FaceBox(FACE.x * 5, FACE.y * 5, FACE.width * 5, FACE.height * 5)) > 0.7


@pytest.mark.parametrize("side", [48, 96, 600])
def test_detect_face_that_fills_the_picture_is_found(portrait, side):
    # Tighter than the cascade's own box: without a border around it there is nothing to find.
    face = portrait[FACE.y + 10 : FACE.y + FACE.height - 10, FACE.x + 10 : FACE.x + FACE.width - 10]
    picture = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC))
    (found,) = FaceDetector().detect(picture)
    assert found.box.overlap(FaceBox(0, 0, side, side)) > 0.6
    assert min(found.box.x, found.box.y) >= 0
    assert max(found.box.x + found.box.width, found.box.y + found.box.height) <= side


def test_detect_large_face_cut_off_by_a_corner_is_found_at_that_corner(portrait):
    corner = np.ascontiguousarray(portrait[FACE.y + 10 : FACE.y + 130, FACE.x + 10 : FACE.x + 130])
    (found,) = FaceDetector().detect(corner)
    assert max(found.box.x, found.box.y) < 10
    assert found.box.overlap(FaceBox(0, 0, FACE.width - 10, FACE.height - 10)) > 0.5


def test_detect_face_that_is_known_gets_no_second_close_look(portrait, monkeypatch):
    confirm, asked = detect_module._confirm, []

    def recording(haar, octaves, proposals, *margin):
        asked.append(proposals)
        return confirm(haar, octaves, proposals, *margin)

    monkeypatch.setattr(detect_module, "_confirm", recording)
    large, _ = cut_around_face(portrait, 2.5)
    (found,) = FaceDetector().detect(large)
    first, *later = [
        sum(FaceBox(round(x), round(y), round(side), round(side)).overlap(found.box) > 0.4 for x, y, side in proposals)
        for proposals in asked
    ]
    assert first == 1
    assert later  # looked for smaller faces
    assert sum(later) == 0


@pytest.fixture
def looks(monkeypatch) -> list[tuple[str, float, float | None]]:
    """Where proposals come from: LBP or Haar, and the smallest and largest face, as shares of the long side."""
    propose, made = detect_module._propose, []

    def recording(cascade, octaves, working_px, smallest, window_px, step, largest=None):
        made.append(("haar" if window_px == detect_module._HAAR_WINDOW_PX else "lbp", smallest, largest))
        return propose(cascade, octaves, working_px, smallest, window_px, step, largest)

    monkeypatch.setattr(detect_module, "_propose", recording)
    return made


def cut_around_face(portrait: np.ndarray, faces: float) -> tuple[np.ndarray, float]:
    """The portrait's face with what is around it, that many faces wide, and the share of its width that is face."""
    margin = round(FACE.width * (faces - 1) / 2)
    left, top = max(0, FACE.x - margin), max(0, FACE.y - margin)
    part = portrait[top : FACE.y + FACE.height + margin, left : FACE.x + FACE.width + margin]
    return np.ascontiguousarray(part), FACE.width / max(part.shape)


def test_detect_large_face_is_found_first_and_bounds_what_is_looked_for(portrait, looks):
    picture, share = cut_around_face(portrait, 2.5)
    (found,) = FaceDetector().detect(picture)
    assert [kind for kind, _, _ in looks] == ["lbp", "lbp"]
    (_, coarse, _), (_, fine, _) = looks
    assert coarse < share < 2 * coarse
    assert fine == pytest.approx(found.box.width / max(picture.shape) / 3)


def test_detect_face_of_a_webcam_gets_one_more_glance_but_no_slow_look(portrait, looks):
    (found,) = FaceDetector().detect(portrait)
    share = found.box.width / max(portrait.shape)
    assert 0.16 < share < 0.24
    assert [kind for kind, _, _ in looks] == ["lbp"] * 3
    assert looks[2] == ("lbp", pytest.approx(share / 3), looks[1][1])


def test_detect_small_face_gets_the_slow_look(portrait, looks):
    scene = np.full((900, 900), 128, dtype=np.uint8)
    scene[:512, :512] = portrait
    (found,) = FaceDetector().detect(scene)
    assert found.box.overlap(FACE) > 0.7
    assert [kind for kind, _, _ in looks] == ["lbp", "lbp", "haar"]


def test_detect_several_faces_get_the_slow_look(portrait, looks):
    assert len(FaceDetector().detect(np.hstack([portrait, portrait]))) == 2
    assert looks[-1][0] == "haar"


def test_detect_face_in_doubt_needs_the_other_cascade_to_see_it_too(portrait, monkeypatch):
    (sure,) = FaceDetector().detect(portrait)
    monkeypatch.setattr(detect_module, "_DOUBTFUL_WEIGHT", sure.weight + 1)
    (seconded,) = FaceDetector().detect(portrait)
    assert seconded == sure
    eyes = "haarcascade_eye.xml"  # sees two eyes, and no face
    monkeypatch.setattr(detect_module, "SECOND_OPINION_CASCADE", eyes)
    assert FaceDetector().detect(portrait) == []
    monkeypatch.setattr(detect_module, "_DOUBTFUL_WEIGHT", sure.weight)
    assert FaceDetector().detect(portrait) == [sure]


def test_detect_blank_image_finds_nothing():
    assert FaceDetector().detect(np.full((480, 640), 128, dtype=np.uint8)) == []


def shifted(grey: np.ndarray, x: int, y: int, zoom: float = 1.0) -> np.ndarray:
    """The next picture of a video: moved to the right and down, its edge repeated."""
    matrix = np.array([[zoom, 0, x], [0, zoom, y]])
    return np.asarray(cv2.warpAffine(grey, matrix, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def beside_itself(portrait: np.ndarray, share: float) -> np.ndarray:
    """The portrait with a small copy of itself on its left."""
    small = np.asarray(cv2.resize(portrait, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))
    scene = np.full((portrait.shape[0], portrait.shape[1] + small.shape[1]), 128, dtype=np.uint8)
    scene[: small.shape[0], : small.shape[1]] = small
    scene[:, small.shape[1] :] = portrait
    return scene


@pytest.mark.parametrize(("x", "y", "zoom"), [(0, 0, 1.0), (30, -20, 1.0), (-25, 10, 1.1), (20, 20, 0.9)])
def test_follow_moved_face_is_found_without_a_search_of_the_whole_picture(portrait, x, y, zoom, monkeypatch):
    detector = FaceDetector()
    known = [face.box for face in detector.detect(portrait)]
    moved = shifted(portrait, x, y, zoom)
    detected = detector.detect(moved)[0]
    monkeypatch.setattr(detect_module, "_propose", lambda *_: pytest.fail("searched the whole picture"))
    (followed,) = detector.follow(moved, known)
    assert followed.box.overlap(detected.box) > 0.8


def test_follow_face_that_jumped_is_found_in_the_whole_picture(portrait):
    detector = FaceDetector()
    (followed,) = detector.follow(portrait, [FaceBox(380, 380, 96, 96)])
    assert followed.box.overlap(FACE) > 0.7


def test_follow_small_face_that_jumped_is_found_in_the_whole_picture(portrait):
    detector = FaceDetector()
    scene = beside_itself(portrait, 0.5)
    small = detector.detect(scene)[1].box
    assert small.width < 0.1 * max(scene.shape)  # too small for a new face
    away = FaceBox(scene.shape[1] - small.width, scene.shape[0] - small.height, small.width, small.height)
    assert any(face.box.overlap(small) > 0.7 for face in detector.follow(scene, [away]))


def test_follow_finds_new_large_faces_at_once_and_small_ones_not(portrait):
    scene = beside_itself(portrait, 0.5)
    large, small = FaceDetector().detect(scene)
    (new,) = FaceDetector().follow(scene, [])
    assert new.box.overlap(large.box) > 0.7
    (followed,) = FaceDetector().follow(scene, [small.box])
    assert followed.box.overlap(small.box) > 0.7


def test_follow_two_boxes_on_one_face_are_one(portrait):
    assert len(FaceDetector().follow(portrait, [FACE, FaceBox(FACE.x + 20, FACE.y, 96, 96)])) == 1


def test_follow_face_that_is_gone_is_not_found():
    assert FaceDetector().follow(np.full((480, 640), 128, dtype=np.uint8), [FACE]) == []


@pytest.mark.parametrize("box", [FaceBox(600, 600, 96, 96), FaceBox(500, 0, 5, 5), FaceBox(0, 0, 2000, 2000)])
def test_follow_box_of_another_picture_is_no_error(portrait, box):
    (followed,) = FaceDetector().follow(portrait, [box])
    assert followed.box.overlap(FACE) > 0.7


@needs_shared_data
def test_follow_photographs_that_move_a_little_lose_no_face():
    detector = FaceDetector()
    generator = np.random.default_rng(0)
    for photograph in load_photographs(SHARED_DATA / "photos"):
        known = [face.box for face in detector.detect(photograph.grey)]
        side = max((box.width for box in known), default=0)
        x, y = (generator.uniform(-0.2, 0.2, 2) * side).round().astype(int)
        moved = shifted(photograph.grey, int(x), int(y))
        followed = [face.box for face in detector.follow(moved, known)]
        for face in detector.detect(moved):
            assert any(face.box.overlap(box) > 0.5 for box in followed), photograph.path.name


@pytest.mark.parametrize("shape", [(8, 8), (8, 4000), (4000, 8), (20, 20)])
def test_detect_extreme_shapes_are_no_error(shape):
    assert FaceDetector().detect(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) == []


def test_detect_two_faces_come_largest_first_inside_the_image(portrait):
    small = np.asarray(cv2.resize(portrait, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
    scene = np.full((portrait.shape[0], portrait.shape[1] + small.shape[1]), 128, dtype=np.uint8)
    scene[: small.shape[0], : small.shape[1]] = small
    scene[:, small.shape[1] :] = portrait
    found = FaceDetector().detect(scene)
    assert len(found) == 2
    assert found[0].box.area_px > found[1].box.area_px
    assert found[0].box.x > small.shape[1]
    for face in found:
        assert min(face.box.x, face.box.y) >= 0
        assert face.box.x + face.box.width <= scene.shape[1]
        assert face.box.y + face.box.height <= scene.shape[0]


def test_detect_small_face_beside_a_large_one_is_found_down_to_a_third(portrait):
    def scene_with(share: float) -> np.ndarray:
        small = np.asarray(cv2.resize(portrait, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))
        scene = np.full((900, 1400), 128, dtype=np.uint8)
        large = np.asarray(cv2.resize(portrait, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC))
        scene[: large.shape[0], : large.shape[1]] = large
        scene[: small.shape[0], 1000 : 1000 + small.shape[1]] = small
        return scene

    # 0.12 of the long side; a face of 0.45 times that is below the first look's smallest.
    assert len(FaceDetector().detect(scene_with(0.75))) == 2
    # A fifth of the large face is background.
    assert len(FaceDetector().detect(scene_with(0.3))) == 1


def test_octaves_shrunk_copies_show_the_same_picture(portrait):
    octaves = _Octaves(np.asarray(cv2.resize(portrait, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)))
    directly = cv2.resize(octaves.grey, (300, 300), interpolation=cv2.INTER_AREA)
    copy, scale = octaves.shrunk(300)
    assert scale == pytest.approx(300 / max(octaves.grey.shape))
    assert copy.shape == directly.shape
    assert np.abs(copy.astype(int) - directly.astype(int)).mean() < 2
    assert octaves.shrunk(10_000) == (octaves.grey, 1.0)


def test_detect_in_threads_gives_what_it_gives_alone(portrait):
    detector = FaceDetector()
    scenes = [np.ascontiguousarray(np.roll(portrait, shift, axis=1)) for shift in range(0, 160, 20)]
    alone = [detector.detect(scene) for scene in scenes]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(detector.detect, scenes * 2)) == alone * 2
    assert all(alone)


def test_detector_missing_cascade_fails_when_it_is_built(monkeypatch):
    monkeypatch.setattr(detect_module, "HAAR_CASCADE", "nothing.xml")
    with pytest.raises(RuntimeError, match="ships no cascade nothing"):
        FaceDetector()


def test_detector_damaged_cascade_fails_when_it_is_built(monkeypatch, tmp_path):
    (tmp_path / "lbp.xml").write_text("<opencv_storage></opencv_storage>")
    monkeypatch.setattr(detect_module, "LBP_CASCADE", tmp_path / "lbp.xml")
    with pytest.raises(RuntimeError, match=r"cannot load the cascade lbp\.xml"):
        FaceDetector()


def test_detector_opencv_without_cascades_says_which_version_is_needed(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(RuntimeError, match="below version 5"):
        FaceDetector()


@needs_shared_data
def test_detect_photographs_finds_every_face_and_nothing_else():
    detector = FaceDetector()
    missed, false = [], []
    for photograph in load_photographs(SHARED_DATA / "photos"):
        boxes = [detection.box for detection in detector.detect(photograph.grey)]
        found, surplus = count_found(photograph, boxes)
        missed += [photograph.path.name] * (len(photograph.faces) - found)
        false += [photograph.path.name] * surplus
    assert (missed, false) == ([], [])


@needs_shared_data
@pytest.mark.parametrize(("kind", "share"), [("groups", 0.95), ("mixed", 0.9), ("singles", 0.9)])
def test_detect_scenes_keep_what_the_slow_searches_find(kind, share):
    counts = {"groups": 0, "mixed": 0, "singles": 0} | {kind: {"groups": 10, "mixed": 25, "singles": 40}[kind]}
    scenes = getattr(make_scenes(SHARED_DATA / "fer2013.zip", **counts), kind)
    slow = OnePass(working_size_px=FULL_SIZE_PX if kind == "groups" else 640)
    reference = [
        (scene, [box for box in boxes if any(box.overlap(face.box) >= SAME_FACE for face in slow.detect(scene))])
        for scene, boxes in scenes
    ]
    wanted = sum(len(boxes) for _, boxes in reference)
    kept, _, false = kept_share(FaceDetector(), scenes, reference)
    assert wanted > 20
    assert kept >= share * wanted
    assert false <= 0.2 * wanted
