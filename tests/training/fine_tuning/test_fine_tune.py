"""The command `fine-tune` from a shipped file to files that the service loads."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.contract.manifest import load_manifest
from app.contract.sidecar import manifest_path
from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config, write_csv
from tests.support.labelled import write_table
from tests.support.paths import REPOSITORY
from training.cli import main
from training.data.labelled import SplitName, load_labelled, parse_sources
from training.data.splits import Split
from training.evaluation.evaluate import session_logits
from training.export.export import export
from training.fit import train as train_module
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")

# Grey levels that the own data has for its labels. In the data of the model these levels belong to other labels.
LEVELS = {"happy": 40, "sad": 110, "neutral": 180}
IMAGES = {"train": 24, "val": 8, "test": 30}
EPOCHS = 6


@pytest.fixture(autouse=True)
def any_loss_by_int8(monkeypatch):
    """Networks of a few channels lose several points by int8. Other tests check the limit."""
    monkeypatch.setattr("training.export.checks.MAX_ACCURACY_LOSS", 1.0)


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    run = RunFolder(folder / "run")
    train(tiny_config(), dataset, run)
    export(run, dataset, folder / "tiny_fp32.onnx")
    return folder / "tiny_fp32.onnx"


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(1)
    rows = [["path", "label", "split"]]
    for split, count in IMAGES.items():
        for label, level in LEVELS.items():
            for index in range(count):
                path = f"{split}-{label}-{index}.png"
                image = level + generator.integers(0, 40, size=(60, 60, 3))
                cv2.imwrite(str(folder / path), image.astype(np.uint8))
                rows.append([path, label, split])
    return write_table(folder / "own.csv", rows)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(
        f"epochs = {EPOCHS}\nbatch_size = 9\nprecision = 'float32'\n"
        "[optimizer]\nlearning_rate = 0.02\nwarmup_epochs = 1\n"
    )
    return path


def run(capsys, monkeypatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["training", *map(str, arguments)])
    status = main()
    output = capsys.readouterr()
    return status, output.out, output.err


def command(model: Path, own: Path, recipe: Path, folder: Path, *more: object) -> tuple[object, ...]:
    files = ("--to", folder / "mine.onnx", "--run", folder / "run", "--config", recipe)
    return ("fine-tune", model, "--data", own, *files, *more)


@pytest.fixture(scope="module")
def tuned(model, own, recipe, tmp_path_factory) -> tuple[Path, str, str]:
    """Fine-tuned model, and what the command printed. Tests only read it and the files beside it."""
    folder = tmp_path_factory.mktemp("tuned")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("training.export.checks.MAX_ACCURACY_LOSS", 1.0)
        patch.setattr("sys.argv", ["training", *map(str, command(model, own, recipe, folder))])
        status = main()
    assert status == 0, err.getvalue()
    return folder / "mine.onnx", out.getvalue(), err.getvalue()


def test_fine_tuned_model_is_served_and_compared(tuned, model, own):
    path, out, err = tuned
    assert "The fine-tuned model is better by more than chance" in out
    assert f"FER_MODEL={path} .venv/bin/python -m app" in out
    assert "Classes with images: 3 of 7" in err
    assert "Warning: the test split is small" in err
    assert "few training images: angry (0), disgust (0), fear (0), surprise (0)" in err

    test = load_labelled(parse_sources([str(own)], []))[SplitName.TEST]
    accuracies = {}
    for file in (model, path.with_name("mine_fp32.onnx"), path):
        session = EmotionSession(file, "cpu", 1)
        session.self_test()
        accuracies[file.stem] = (session_logits(session, test.images).argmax(axis=1) == test.labels).mean()
    manifest = load_manifest(path)
    measured = manifest.labelled_sets["own.csv test"]
    assert measured.metrics.accuracy == accuracies["mine"] > accuracies["tiny_fp32"] == measured.before.accuracy
    assert measured.before.p_value < 0.05
    assert measured.before.sha256 == load_manifest(model).sha256
    assert manifest.contract.precision == "int8"
    assert "own.csv validation" in load_manifest(path.with_name("mine_fp32.onnx")).labelled_sets


def test_manifest_says_nothing_about_fer2013(tuned, model):
    manifest = load_manifest(tuned[0])
    assert manifest.metrics == {}
    dataset = manifest.provenance.dataset
    assert dataset["name"] == "own.csv"
    assert dataset["counts"] == {"train": 72, "validation": 24, "test": 90}
    assert dataset["train_images_by_label"]["happy"] == 24
    assert dataset["fine_tuned_from"]["name"] == "tiny_fp32"
    assert dataset["fine_tuned_from"]["dataset"]["name"] == "FER2013"
    assert manifest.contract.temperature == load_manifest(model).contract.temperature  # 24 validation images


def test_card_has_the_figures(tuned):
    path, _, _ = tuned
    card = path.with_suffix(".md").read_text()
    measured = load_manifest(path).labelled_sets["own.csv test"]
    assert f"**{measured.metrics.accuracy:.2%}**" in card
    assert f"| before: tiny_fp32 {load_manifest(path).provenance.dataset['fine_tuned_from']['version']} |" in card
    assert path.with_name("mine.reliability.png").exists()
    assert 'session = ort.InferenceSession("mine.onnx")' in card


def test_card_command_writes_the_card_again(tuned, capsys, monkeypatch, tmp_path):
    status, _, err = run(capsys, monkeypatch, "card", tuned[0], "--to", tmp_path / "again.md")
    assert status == 0, err
    assert (tmp_path / "again.md").read_text() == tuned[0].with_suffix(".md").read_text()


def test_interrupted_run_continues_with_the_same_result(capsys, monkeypatch, model, own, recipe, tmp_path, tuned):
    finish = train_module._finish_epoch

    def interrupt(logs, state, seconds):
        if state.epochs_done == 3:
            raise KeyboardInterrupt
        finish(logs, state, seconds)

    folder = tmp_path
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_finish_epoch", interrupt)
        status, _, err = run(capsys, patch, *command(model, own, recipe, folder))
    assert status == 130
    assert "repeat the command to continue" in err
    status, out, _ = run(capsys, monkeypatch, *command(model, own, recipe, folder))
    assert status == 0
    assert "Restore" not in out
    assert "Epoch 3/6" not in out
    assert "Epoch 4/6" in out
    first, again = map(load_manifest, (tuned[0], folder / "mine.onnx"))
    assert first.labelled_sets == again.labelled_sets


def test_incomplete_restore_is_repeated(capsys, monkeypatch, model, own, recipe, tmp_path):
    (tmp_path / "run/base").mkdir(parents=True)
    (tmp_path / "run/base/best.weights.h5").write_bytes(b"half")
    status, _, err = run(capsys, monkeypatch, *command(model, own, recipe, tmp_path, "--epochs", 1))
    assert status == 0, err


def test_frozen_layers_keep_their_weights(capsys, monkeypatch, model, own, recipe, tmp_path):
    status, out, err = run(capsys, monkeypatch, *command(model, own, recipe, tmp_path, "--freeze", "block"))
    assert status == 0, err
    assert "not trained: block" in out
    weights = [RunFolder(tmp_path / "run" / name) for name in ("base", "training")]
    from training.architectures.heads import build_with_heads

    first, last = (build_with_heads(each.read_config()) for each in weights)
    first.load_weights(weights[0].best_weights)
    last.load_weights(weights[1].best_weights)
    for layer in first.layers:
        same = all(
            np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), last.get_layer(layer.name).get_weights(), strict=True)
        )
        assert same == (layer.name != "logits")
    status, _, err = run(capsys, monkeypatch, *command(model, own, recipe, tmp_path / "other", "--freeze", "stage9"))
    assert status == 2
    assert "frozen_layers: expected beginnings of block1_conv1" in err


def test_weights_of_sources_reach_the_loss(capsys, monkeypatch, model, own, recipe, tmp_path):
    """The same images in two sources, with contradicting labels: the heavier source wins."""
    rows = [line.split(",") for line in own.read_text().splitlines()]
    swap = {"happy": "sad", "sad": "happy"}
    table = [[str(own.parent / path), swap.get(label, label), split] for path, label, split in rows if split == "train"]
    other = write_table(tmp_path / "other.csv", [["path", "label", "split"], *table])
    accuracies = []
    for name, weights in (("own", (20, 1)), ("other", (1, 20))):
        data = ("--data", f"{own}@{weights[0]}", "--data", f"{other}@{weights[1]}")
        arguments = ("fine-tune", model, *data, "--to", tmp_path / f"{name}.onnx", "--run", tmp_path / name)
        status, _, err = run(capsys, monkeypatch, *arguments, "--config", recipe)
        assert status == 0, err
        sets = load_manifest(tmp_path / f"{name}.onnx").labelled_sets
        accuracies.append(next(found.metrics.accuracy for key, found in sets.items() if key.endswith("test")))
    assert accuracies[0] > accuracies[1] + 0.2


def test_run_folder_of_other_data_or_another_model_is_refused(
    capsys, monkeypatch, dataset, model, own, recipe, tmp_path, tuned
):
    other = write_table(own.parent / "other.csv", [line.split(",") for line in own.read_text().splitlines()][:-1])
    status, _, err = run(capsys, monkeypatch, *command(model, other, recipe, tuned[0].parent))
    assert status == 2
    assert "contains a run on other data" in err
    another = tmp_path / "another_fp32.onnx"
    export(RunFolder(model.parent / "run"), dataset, another)
    status, _, err = run(capsys, monkeypatch, *command(another, own, recipe, tuned[0].parent))
    assert status == 2
    assert "contains a run that started from another model" in err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--to": "mine.pt"}, "--to: expected a file such as models/mine.onnx"),
        ({"--to": "My-Model.onnx"}, "with a name of a-z, 0-9 and _. Received: My-Model.onnx"),
        ({"model": "none.onnx"}, "model file none.onnx does not exist"),
        ({"--data": "none.csv"}, "none.csv does not exist"),
    ],
)
def test_refusals(capsys, monkeypatch, model, own, recipe, tmp_path, change, sentence):
    options = {"--to": tmp_path / "mine.onnx", "--data": own, "--run": tmp_path / "run"} | change
    path = options.pop("model", model)
    status, _, err = run(capsys, monkeypatch, "fine-tune", path, *(part for pair in options.items() for part in pair))
    assert status == 2
    assert sentence in err
    assert not (tmp_path / "run").exists()


def test_model_in_fewer_bits_or_the_model_itself_is_refused(capsys, monkeypatch, model, own, recipe, tmp_path):
    status, _, err = run(capsys, monkeypatch, *command(REPOSITORY / "models/fer_vgg.onnx", own, recipe, tmp_path))
    assert (status, "expected a model in full precision (float32)" in err) == (2, True)
    for name in ("tiny.onnx", "tiny_fp32.onnx"):
        status, _, err = run(capsys, monkeypatch, "fine-tune", model, "--data", own, "--to", model.with_name(name))
        assert (status, "--to: expected another name than that of the model" in err) == (2, True)


def test_data_without_a_test_split_is_refused(capsys, monkeypatch, model, own, recipe, tmp_path):
    rows = [line.split(",") for line in own.read_text().splitlines()]
    table = write_table(own.parent / "no_test.csv", [row for row in rows if row[2] != "test"])
    status, _, err = run(capsys, monkeypatch, *command(model, table, recipe, tmp_path))
    assert status == 2
    assert "Received: no image of test" in err


def test_one_class_is_refused(capsys, monkeypatch, model, own, recipe, tmp_path):
    rows = [line.split(",") for line in own.read_text().splitlines()]
    table = write_table(own.parent / "one.csv", [row for row in rows if row[1] in ("label", "sad")])
    status, _, err = run(capsys, monkeypatch, *command(model, table, recipe, tmp_path))
    assert (status, "expected at least two classes. Received: only images of sad" in err) == (2, True)


def test_data_without_validation_gets_one(capsys, monkeypatch, model, own, recipe, tmp_path):
    rows = [line.split(",") for line in own.read_text().splitlines()]
    table = write_table(own.parent / "no_validation.csv", [row for row in rows if row[2] != "val"])
    status, out, err = run(capsys, monkeypatch, *command(model, table, recipe, tmp_path, "--epochs", 1))
    assert status == 0, err
    assert "of the training images become it" in err
    images = re.search(r"Images: (\d+) train, (\d+) validation, 90 test", out)
    assert int(images[1]) + int(images[2]) == 72


def test_fer2013_gives_its_training_split_only(capsys, monkeypatch, model, own, recipe, tmp_path):
    """The test splits of FER2013 are never part of fine-tuning."""
    monkeypatch.setattr("training.data.fer2013.EXPECTED_COUNTS", dict.fromkeys(Split, (2,) * 7))
    generator = np.random.default_rng(5)
    rows = [
        [str(code), " ".join(map(str, generator.integers(0, 256, 48 * 48))), split.value]
        for split in Split
        for code in range(7)
        for _ in range(2)
    ]
    archive = write_csv(tmp_path / "fer2013.csv", rows)
    status, _, err = run(capsys, monkeypatch, *command(model, archive, recipe, tmp_path))
    assert status == 2
    assert "Received: no image of test" in err
    assert "Of FER2013, only Training is used" in err
    arguments = command(model, own, recipe, tmp_path, "--data", archive, "--epochs", 1, "--keep-similar")
    status, out, err = run(capsys, monkeypatch, *arguments)
    assert status == 0, err
    assert "24 validation, 90 test" in out
    assert "FER2013: only its Training split is used" in err


def test_fine_tuned_model_can_be_fine_tuned_again(tuned, own, recipe, capsys, monkeypatch, tmp_path):
    again = command(tuned[0].with_name("mine_fp32.onnx"), own, recipe, tmp_path / "again", "--epochs", 1)
    status, _, err = run(capsys, monkeypatch, *again)
    assert status == 0, err
    origin = load_manifest(tmp_path / "again/mine.onnx").provenance.dataset["fine_tuned_from"]
    assert (origin["name"], origin["dataset"]["name"]) == ("mine_fp32", "own.csv")


def test_evaluate_measures_the_test_split_of_the_data_that_a_model_learned(tuned, own, capsys, monkeypatch):
    path = tuned[0]
    before = manifest_path(path).read_bytes()
    status, out, _ = run(capsys, monkeypatch, "evaluate", path, "--data", own)
    assert status == 0
    assert f"accuracy {load_manifest(path).labelled_sets['own.csv test'].metrics.accuracy:.2%}" in out
    assert manifest_path(path).read_bytes() == before
