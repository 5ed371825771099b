"""The command `evaluate` on own data and on FER2013: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.contract.labels import LABELS
from app.contract.manifest import PredictionSets, load_manifest
from app.contract.sidecar import manifest_path
from app.inference.session import EmotionSession
from tests.support.datasets import write_csv
from tests.support.labelled import encoded, write_files, write_table
from tests.support.paths import REPOSITORY, SHARED_DATA, needs_shared_data
from training.cli import main
from training.data.fer2013 import EXPECTED_COUNTS


@pytest.fixture
def model(tmp_path) -> Path:
    for suffix in (".onnx", ".manifest.json", ".golden.npz"):
        shutil.copy(REPOSITORY / f"models/fer_vgg{suffix}", tmp_path)
    return tmp_path / "fer_vgg.onnx"


@pytest.fixture
def table(tmp_path, model) -> Path:
    """A CSV of noise. The label of the group `clear` is the model's answer, that of `noisy` often another one."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(160, 48, 48, 1), dtype=np.uint8)
    predicted = EmotionSession(model, "cpu", 1).logits(images).argmax(axis=1)
    rows = [["path", "label", "split", "source", "side", "year"]]
    files = {}
    for index, (image, code) in enumerate(zip(images, predicted, strict=True)):
        files[f"faces/{index}.png"] = encoded(Image.fromarray(image[:, :, 0]))
        noisy = index % 2
        label = LABELS[(code + (noisy and index % 4 == 1)) % 7]
        split = "test" if index < 120 else "val"
        rows.append([f"faces/{index}.png", label, split, ("clear", "noisy")[noisy], "lr"[index // 4 % 2], str(index)])
    write_files(tmp_path, files)
    return write_table(tmp_path / "set.csv", rows)


def run(capsys, monkeypatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["training", *map(str, arguments)])
    status = main()
    output = capsys.readouterr()
    return status, output.out, output.err


def test_evaluate_prints_the_coverage_of_the_models_prediction_sets(capsys, monkeypatch, model, table):
    manifest = load_manifest(model)
    every = PredictionSets(method="marginal", thresholds=dict.fromkeys(LABELS, 0.0))
    top = PredictionSets(method="marginal", thresholds=dict.fromkeys(LABELS, 1.0))
    changed = manifest.model_copy(update={"prediction_sets": {"0.8": top, "0.9": every}})
    manifest_path(model).write_text(changed.model_dump_json())
    _, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", table)
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("80%", "90%"))]
    assert rows[0][:3] == ["80%", "75.0%", "1.00"]
    assert rows[1][:3] == ["90%", "100.0%", "7.00"]


def test_groups_have_the_right_verdict(capsys, monkeypatch, model, table, tmp_path):
    before = manifest_path(model).read_bytes()
    options = ("--groups", "source", "--groups", "side", "--plots", tmp_path / "plots", "--json", tmp_path / "out.json")
    status, out, err = run(capsys, monkeypatch, "evaluate", model, "--data", table, *options)
    assert status == 0
    assert "Measured: the test split" in err
    assert "accuracy 75.00% (95 % interval 66.56% to 81.89%)" in out
    assert "source: the accuracy differs between the groups by more than chance" in out
    assert "side: no difference larger than chance" in out
    assert "validation" not in out
    assert manifest_path(model).read_bytes() == before
    figures = json.loads((tmp_path / "out.json").read_text())["splits"]["test"]
    assert figures["groups"]["source"]["differs"]
    assert not figures["groups"]["side"]["differs"]
    assert [group["accuracy"] for group in figures["groups"]["source"]["groups"]] == [1.0, 0.5]
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert plots == {"confusion-test.png", "reliability-test.png", "groups-test.png"}


def test_only_the_named_splits_are_printed(capsys, monkeypatch, model, table):
    _, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", table, "--split", "val")
    assert "on validation" in out
    assert "on test" not in out
    _, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", table, "--split", "all", "--split", "Test")
    assert "on all" in out
    assert "on test" in out


def test_numbers_are_grouped_in_thirds(capsys, monkeypatch, model, table):
    _, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", table, "--groups", "year")
    assert "1: up to 39.67" in out


def test_write_changes_the_manifest_and_keeps_the_other_figures(capsys, monkeypatch, model, table):
    before = load_manifest(model)
    run(capsys, monkeypatch, "evaluate", model, "--data", table, "--groups", "source", "--write")
    after = load_manifest(model)
    assert after.metrics == before.metrics
    measured = after.labelled_sets["set.csv test"]
    assert measured.metrics.images == 120
    assert measured.groups["source"]["noisy"].accuracy == 0.5
    run(capsys, monkeypatch, "evaluate", model, "--data", table, "--split", "val", "--write")
    assert load_manifest(model).labelled_sets.keys() == {"set.csv test", "set.csv validation"}


def test_data_without_splits_is_measured_as_a_whole(capsys, monkeypatch, model, tmp_path):
    files = {
        f"set/{label}/{index}.png": encoded(
            Image.fromarray(np.random.default_rng(10 * code + index).integers(0, 256, (48, 48), dtype=np.uint8))
        )
        for code, label in enumerate(("happy", "sad"))
        for index in range(12)
    }
    folder = write_files(tmp_path, files) / "set"
    _, out, err = run(capsys, monkeypatch, "evaluate", model, "--data", folder)
    assert "on all, 2 of 7 classes" in out
    assert "Measured: all images" in err
    assert " disgust " not in out


def test_without_data_fer2013_beside_the_repository_is_expected(capsys, monkeypatch, model, tmp_path):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    status, _, err = run(capsys, monkeypatch, "evaluate", model, "--split", "PublicTest")
    assert status == 2
    assert "../shared/data/fer2013.zip does not exist. Expected FER2013" in err


def test_missing_model_and_output_are_refused(capsys, monkeypatch, model, table, tmp_path):
    status, _, err = run(capsys, monkeypatch, "evaluate", tmp_path / "none.onnx", "--data", table)
    assert status == 2
    assert "none.onnx does not exist" in err
    status, _, err = run(capsys, monkeypatch, "evaluate", model, "--data", table, "--json", tmp_path / "set.csv/x.json")
    assert status == 2
    assert "cannot read or write" in err
    assert "set.csv" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "train"), "--split: expected validation, test or all, the splits of the data that have images"),
        (("--split", "dev"), "--split: expected train, val (or valid, validation) and test, or all"),
        (
            ("--groups", "gender"),
            "--groups: expected columns of the CSV beside path, label and split: source, side, year",
        ),
        (("--augmentation", "flip"), "--augmentation is for FER2013 alone"),
        (("--device", "cuda"), "cuda"),
        (("--drop", "fury"), "--drop: expected classes of the data"),
    ],
)
def test_refusals(capsys, monkeypatch, model, table, options, message):
    status, out, err = run(capsys, monkeypatch, "evaluate", model, "--data", table, *options)
    assert status == 2
    assert out == ""
    assert message in err.replace("\n", " ")
    assert "Traceback" not in err


@pytest.fixture
def fer2013(tmp_path, monkeypatch) -> Path:
    """FER2013 with two images of each label and split."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("training.data.fer2013.EXPECTED_COUNTS", dict.fromkeys(EXPECTED_COUNTS, (2,) * 7))
    generator = np.random.default_rng(0)
    rows = [
        [str(code), " ".join(map(str, generator.integers(0, 256, 48 * 48))), split.value]
        for split in EXPECTED_COUNTS
        for code in range(7)
        for _ in range(2)
    ]
    return write_csv(tmp_path / "fer2013.csv", rows)


def test_fer2013_prints_only_the_named_splits_and_writes_only_with_write(capsys, monkeypatch, model, fer2013):
    before = manifest_path(model).read_bytes()
    status, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", fer2013, "--split", "PublicTest")
    assert status == 0
    assert "PublicTest, original labels" in out
    assert "PrivateTest" not in out
    assert manifest_path(model).read_bytes() == before
    run(capsys, monkeypatch, "evaluate", model, "--data", fer2013, "--split", "PublicTest", "--write")
    assert load_manifest(model).metrics["PublicTest"].images == 14


def test_fer2013_needs_a_named_split(capsys, monkeypatch, model, fer2013):
    for options in ((), ("--drop", "disgust")):
        status, out, err = run(capsys, monkeypatch, "evaluate", model, "--data", fer2013, *options)
        assert status == 2
        assert out == ""
        assert "expected --split for FER2013: Training, PublicTest or PrivateTest" in err


def test_fer2013_without_a_class(capsys, monkeypatch, model, fer2013):
    options = ("--drop", "disgust", "--split", "PublicTest")
    _, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", fer2013, *options)
    assert "on validation, 6 of 7 classes" in out


@needs_shared_data
def test_real_set_has_a_difference_by_agreement_and_none_by_half(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive, folder = SHARED_DATA / "fer2013.zip", tmp_path / "set"
    status, _, _ = run(capsys, monkeypatch, "example-set", "--to", folder, "--data", archive, "--images", 200)
    assert status == 0
    model = REPOSITORY / "models/fer_vgg.onnx"
    options = ("--classes", "rafdb", "--groups", "agreement", "--groups", "half", "--groups", "brightness")
    _, out, _ = run(capsys, monkeypatch, "evaluate", model, "--data", folder / "labels.csv", *options)
    assert "on test" in out
    assert "1186" in out
    assert "agreement: the accuracy differs between the groups by more than chance" in out
    assert "half: no difference larger than chance" in out
    assert "brightness: " in out
