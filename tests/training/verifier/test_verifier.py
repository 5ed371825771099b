"""Training of the face verifier: mined crops, distortions, calibration, and the exported files."""

from __future__ import annotations

import shutil
import sys

import cv2
import numpy as np
import pytest

from app.api.options import OptionsQuery
from app.contract.sidecar import ManifestError
from app.domain import PredictOptions
from app.inference.face_verifier import FaceVerifier
from tests.support.datasets import tiny_dataset
from tests.support.images import ASTRONAUT
from tests.support.paths import REPOSITORY, SHARED_DATA
from training.cli import main
from training.data.splits import Split
from training.errors import TrainingError
from training.verifier import measure, mining
from training.verifier.config import DistortionConfig, VerifierConfig, load_verifier_config
from training.verifier.distortions import distorted, part_of_face
from training.verifier.mining import MinedCrops, load_crops, mine, save_crops

FACE_VERIFIER = REPOSITORY / "models/detection/face_verifier.onnx"
YUNET = SHARED_DATA / "yunet" / "face_detection_yunet_2023mar.onnx"
NOISE = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 1), dtype=np.uint8)


@pytest.fixture
def crops(tmp_path):
    names = np.array([f"wood/{number}.png" for number in range(len(NOISE))])
    path = tmp_path / "crops.npz"
    save_crops(path, MinedCrops(NOISE, names, NOISE[:2], names[:2]))
    return path


@pytest.mark.skipif(not YUNET.exists(), reason="../shared/data/yunet is not beside the repository")
def test_mined_crops_do_not_show_the_face_of_a_photograph(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(ASTRONAUT.read_bytes())
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    mined = mine([tmp_path / "pictures"], YUNET, 60, seed=1)
    assert mined.faces.shape == (1, 48, 48, 1)
    assert set(mined.other_sources) == {"pictures/a.jpg"}
    (face,) = mined.faces
    likeness = [cv2.matchTemplate(crop, face, cv2.TM_CCOEFF_NORMED)[0, 0] for crop in mined.others]
    assert len(likeness) >= 4
    assert max(likeness) < 0.7  # crops of the face itself, shifted or scaled, have more than 0.8


def test_pictures_without_a_face_are_also_mined_turned(tmp_path, monkeypatch):
    # The cascades accept a face on its side in the turned copy only. YuNet would find it, so it is left out here.
    monkeypatch.setattr(mining, "_find_faces", lambda *_: np.empty((0, 15), np.float32))
    portrait = cv2.imread(str(ASTRONAUT), cv2.IMREAD_GRAYSCALE)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.rot90(portrait, -1))
    (tmp_path / "model.onnx").write_bytes(b"")
    mined = mine([tmp_path / "pictures"], tmp_path / "model.onnx", 1000, seed=1)
    face = cv2.resize(portrait[66:162, 176:272], (48, 48), interpolation=cv2.INTER_AREA)
    assert max(cv2.matchTemplate(crop, face, cv2.TM_CCOEFF_NORMED)[0, 0] for crop in mined.others) > 0.8


def test_mining_without_pictures_or_without_yunet_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="--yunet"):
        mine([tmp_path], tmp_path / "missing.onnx", 60, seed=1)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"expected folders of pictures.*missing"):
        mine([tmp_path, tmp_path / "missing"], tmp_path / "model.onnx", 60, seed=1)
    with pytest.raises(TrainingError, match="no picture"):
        mine([tmp_path], tmp_path / "model.onnx", 60, seed=1)


def test_excluded_pictures_are_left_out(crops):
    assert len(load_crops(crops).others) == len(NOISE)
    left = load_crops(crops, ["/1", "/3.png"])
    assert "wood/3.png" not in left.other_sources
    assert len(left.others) == len(NOISE) - 12
    with pytest.raises(TrainingError, match="verifier mine"):
        load_crops(crops.with_name("missing.npz"))
    truncated = crops.with_name("truncated.npz")
    truncated.write_bytes(crops.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="missing or damaged"):
        load_crops(truncated)


def test_distorted_crops_differ_and_repeat_with_the_seed():
    config = DistortionConfig()
    first, second = (distorted(NOISE[0], NOISE[1], config, np.random.default_rng(seed)) for seed in (1, 2))
    assert first.shape == second.shape == (48, 48, 1)
    assert first.dtype == np.uint8
    assert (first != second).any()
    np.testing.assert_array_equal(first, distorted(NOISE[0], NOISE[1], config, np.random.default_rng(1)))


@pytest.mark.parametrize("seed", range(4))
def test_part_of_a_face_is_no_whole_face(seed):
    face = np.full((48, 48, 1), 255, np.uint8)
    face[24:] = 0
    part = part_of_face(face, np.full_like(face, 128), np.random.default_rng(seed))
    assert part.shape == (48, 48, 1)
    assert (part != face).mean() > 0.2


def test_calibrated_probability_agrees_with_the_share_of_faces():
    """Logits of faces and other crops are normal with means +1 and -1: the true log-odds are twice the logit."""
    generator = np.random.default_rng(0)
    faces, others = np.zeros((4000, 48, 48, 1), np.uint8) + 255, np.zeros((4000, 48, 48, 1), np.uint8)
    faces[:, ::2] = 200

    def predict(images):
        means = np.where(images.std(axis=(1, 2, 3)) > 5, 1.0, -1.0)
        return (means + generator.normal(size=len(images)))[:, np.newaxis].astype(np.float32)

    plain = DistortionConfig(
        zoom=(1, 1), shift=0, rotation_degrees=0, background_probability=0, dark_probability=0, tone_probability=0,
        cover_probability=0, small_probability=0, blur_probability=0, noise_probability=0, jpeg_probability=0,
    )  # fmt: skip
    held_out = measure.HeldOut(faces, others, np.array(["a"] * 4000), faces[:0])
    calibration = measure.calibrate(predict, held_out, VerifierConfig(name="x", face_prior=0.2, distortions=plain))
    assert calibration.scale == pytest.approx(2, abs=0.2)
    assert calibration.offset == pytest.approx(np.log(0.2 / 0.8), abs=0.1)


def test_train_writes_a_verifier_that_the_service_loads(crops, tmp_path, monkeypatch, capsys):
    dataset = tiny_dataset()
    monkeypatch.setattr("training.cli.verifier.load_dataset", lambda arguments: dataset)
    config = tmp_path / "tiny.toml"
    config.write_text('name = "tiny"\nwidths = [4, 4, 4, 4]\nepochs = 1\nsteps_per_epoch = 2\nbatch_size = 8\n')
    model = tmp_path / "out" / "tiny.onnx"
    arguments = ["--config", config, "--train", crops, "--test", crops, "--to", model, "--data", tmp_path / "none"]
    monkeypatch.setattr(sys, "argv", ["training", "verifier", "train", *map(str, arguments)])
    assert main() == 0
    assert "threshold" in capsys.readouterr().out
    verifier = FaceVerifier(model)
    probabilities = verifier.face_probability(dataset[Split.PUBLIC_TEST].images)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert {path.name for path in model.parent.iterdir()} == {
        "tiny.onnx", "tiny.manifest.json", "tiny.golden.npz", "tiny.md"
    }  # fmt: skip
    assert verifier.manifest.provenance["crops"]["sources"] == ["wood"]
    assert f"| threshold | {verifier.threshold}:" in model.with_suffix(".md").read_text()
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ManifestError, match="sha256"):
        FaceVerifier(model)


def test_calibrate_again_changes_the_probability_and_keeps_the_network(crops, tmp_path, monkeypatch, capsys):
    dataset = tiny_dataset()
    monkeypatch.setattr("training.cli.verifier.load_dataset", lambda arguments: dataset)
    model = tmp_path / "face_verifier.onnx"
    for path in FACE_VERIFIER.parent.glob("face_verifier.*"):
        shutil.copy(path, tmp_path)

    def calibrate(face_prior):
        arguments = [model, "--face-prior", face_prior, "--threshold", 0.2]
        arguments += ["--train", crops, "--test", crops, "--data", tmp_path / "none"]
        monkeypatch.setattr(sys, "argv", ["training", "verifier", "calibrate", *map(str, arguments)])
        return main()

    images = dataset[Split.PUBLIC_TEST].images
    manifests, odds = [], []
    for prior in (0.5, 0.8):
        assert calibrate(prior) == 0
        verifier = FaceVerifier(model)
        probability = verifier.face_probability(images).astype(np.float64)
        manifests.append(verifier.manifest)
        odds.append(probability / (1 - probability))
    assert model.read_bytes() == FACE_VERIFIER.read_bytes()
    assert odds[1] / odds[0] == pytest.approx(4, rel=0.01)
    assert manifests[1].provenance["config"]["face_prior"] == 0.8
    assert manifests[1].threshold == 0.2
    first, second = (int(manifest.version.split(".")[-1]) for manifest in manifests)
    assert second == first + 1
    before = model.with_suffix(".manifest.json").read_bytes()
    assert calibrate(1.5) == 2
    assert "face_prior" in capsys.readouterr().err
    assert model.with_suffix(".manifest.json").read_bytes() == before


def test_threshold_of_the_shipped_verifier_is_the_one_that_the_api_names():
    threshold = FaceVerifier(FACE_VERIFIER).threshold
    description = OptionsQuery.model_fields["min_detection_confidence"].description
    assert description.endswith(f"returns no face below {threshold}")
    assert threshold < PredictOptions().min_detection_confidence


@pytest.mark.parametrize("text", ['name = "x"\nwidth = 3', 'name = "x"\nwidths = [1]', "name ="])
def test_bad_config_is_refused(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=r"bad\.toml"):
        load_verifier_config(path)
