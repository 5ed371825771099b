"""The shipped face verifier: faces and other crops, errors, threads."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.contract.preprocess import crop_face
from app.contract.sidecar import ManifestError, golden_path, manifest_path
from app.domain import FaceBox
from app.inference.face_verifier import FaceVerifier
from app.inference.session import SelfTestError
from tests.support.paths import REPOSITORY
from tests.support.portrait import FACE, load_portrait

MODEL = REPOSITORY / "models" / "detection" / "face_verifier.onnx"
FLAT_AND_NOISE = np.stack(
    [np.full((48, 48, 1), 128, np.uint8), np.random.default_rng(0).integers(0, 256, (48, 48, 1), dtype=np.uint8)]
)


@pytest.fixture(scope="module")
def verifier():
    return FaceVerifier(MODEL)


def test_a_face_is_probable_and_other_parts_of_the_portrait_are_not(verifier):
    portrait = load_portrait()
    others = [crop_face(portrait, FaceBox(x, y, 96, 96)) for x, y in ((20, 20), (380, 60), (200, 330), (60, 300))]
    face, *rest = verifier.face_probability(np.stack([crop_face(portrait, FACE), *others, *FLAT_AND_NOISE]))
    assert face > 0.9
    assert max(rest) < 0.5


@pytest.mark.parametrize("gain", [0.5, 0.1, 0.06])
def test_a_dark_face_is_probable(verifier, gain):
    dark = np.rint(load_portrait() * gain).astype(np.uint8)
    assert verifier.face_probability(crop_face(dark, FACE)[np.newaxis])[0] > 0.8


def test_no_crops_give_no_probabilities(verifier):
    assert verifier.face_probability(np.empty((0, 48, 48, 1), np.uint8)).shape == (0,)


def test_threads_get_the_same_probabilities(verifier):
    crops = np.random.default_rng(1).integers(0, 256, (32, 48, 48, 1), dtype=np.uint8)
    expected = verifier.face_probability(crops)
    with ThreadPoolExecutor(8) as threads:
        for received in threads.map(verifier.face_probability, [crops] * 32):
            np.testing.assert_allclose(received, expected, atol=1e-6)


def copied(folder):
    for path in (MODEL, manifest_path(MODEL), golden_path(MODEL)):
        shutil.copy(path, folder)
    return folder / MODEL.name


def test_changed_golden_vectors_are_refused(tmp_path):
    path = copied(tmp_path)
    with np.load(golden_path(path)) as golden:
        crops, logits = golden["crops"], golden["logits"]
    np.savez(golden_path(path), crops=crops, logits=logits + 0.01)
    with pytest.raises(SelfTestError, match="golden"):
        FaceVerifier(path)


@pytest.mark.parametrize("file", [".manifest.json", ".onnx", ".golden.npz"])
def test_missing_file_is_refused(tmp_path, file):
    path = copied(tmp_path)
    path.with_suffix("").with_name(path.stem + file).unlink()
    with pytest.raises(ManifestError, match=r"read|missing"):
        FaceVerifier(path)


def test_other_preprocessing_is_refused(tmp_path):
    path = copied(tmp_path)
    text = manifest_path(path).read_text()
    manifest_path(path).write_text(text.replace("grey48", "grey49"))
    with pytest.raises(ManifestError, match="preprocess_id"):
        FaceVerifier(path)
