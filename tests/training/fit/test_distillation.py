"""A run that learns from the predictions of finished runs, and the provenance of such a chain of runs."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest

from app.contract.scores import probabilities
from tests.support.datasets import tiny_config
from training import provenance
from training.architectures.heads import Head, build_with_heads
from training.config import DistillationConfig
from training.data.augment import resize_batch
from training.data.fer2013 import Split
from training.errors import TrainingError
from training.evaluation.evaluate import record
from training.export.card import model_card
from training.export.export import export
from training.fit import distillation
from training.fit.distillation import ConsistentTeachers, distillation_targets
from training.fit.parent_runs import weights_sha256
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


def test_distillation_targets_blend_labels_with_the_mean_over_image_and_mirror_image(first, dataset, tmp_path):
    images, labels = dataset[Split.TRAINING].images[:5], np.eye(7, dtype=np.float32)[:5]
    targets = distillation_targets(labels, images, [first.path], 0.25, tmp_path / "cache.npz")
    parent = build_with_heads(first.read_config())
    parent.load_weights(first.best_weights)
    views = [np.asarray(parent(view)[Head.ORIGINAL.value].detach()) for view in (images, images[:, :, ::-1].copy())]
    predictions = (probabilities(views[0], 1.0) + probabilities(views[1], 1.0)) / 2
    np.testing.assert_allclose(targets, 0.75 * labels + 0.25 * predictions, atol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert targets.dtype == np.float32


def test_distillation_targets_weight_several_runs_equally(first, dataset, tmp_path):
    other = RunFolder(tmp_path / "other")
    train(tiny_config(epochs=1, seed=8), dataset, other)
    images, labels = dataset[Split.TRAINING].images[:5], np.zeros((5, 7), np.float32)
    alone = [distillation_targets(labels, images, [path], 1.0, path / "cache.npz") for path in (first.path, other.path)]
    both = distillation_targets(labels, images, [first.path, other.path], 1.0, tmp_path / "cache.npz")
    np.testing.assert_allclose(both, sum(alone) / 2, atol=1e-6)


def test_distillation_targets_are_cached_until_an_input_changes(first, dataset, tmp_path, monkeypatch):
    images, labels = dataset[Split.TRAINING].images[:5], np.zeros((5, 7), np.float32)
    cache = tmp_path / "cache.npz"
    targets = distillation_targets(labels, images, [first.path], 1.0, cache)

    def refuse(path, images):
        raise AssertionError("predicted again")

    monkeypatch.setattr(distillation, "_predict", refuse)
    np.testing.assert_array_equal(distillation_targets(labels, images, [first.path], 1.0, cache), targets)
    other = shutil.copytree(first.path, tmp_path / "other")
    (other / "best.weights.h5").write_bytes(first.best_weights.read_bytes() + b" ")
    for changed in ((images[::-1], [first.path]), (images, [other])):
        with pytest.raises(AssertionError, match="predicted again"):
            distillation_targets(labels, *changed, 1.0, cache)
    cache.write_bytes(cache.read_bytes()[:100])
    with pytest.raises(AssertionError, match="predicted again"):
        distillation_targets(labels, images, [first.path], 1.0, cache)


def test_train_with_distillation_learns_the_predictions(first, dataset, tmp_path):
    """If the predictions are the whole target, the labels have no effect."""
    weights = []
    for labels in (dataset[Split.TRAINING].labels, np.roll(dataset[Split.TRAINING].labels, 1)):
        training = dataset[Split.TRAINING]
        relabelled = type(dataset)(
            {**dataset.splits, Split.TRAINING: type(training)(training.images, labels, training.names)}, dataset.sha256
        )
        run = RunFolder(tmp_path / str(labels[0]))
        train(tiny_config(epochs=1, distillation={"runs": [first.path], "share": 1.0}), relabelled, run)
        model = build_with_heads(run.read_config())
        model.load_weights(run.best_weights)
        weights.append(model.get_layer("block1_conv1").get_weights()[0])
    np.testing.assert_array_equal(*weights)


@pytest.fixture(scope="module")
def exported(first, dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "teacher.onnx"
    export(first, dataset, path)
    return path


def test_consistent_teachers_predict_the_batch_at_the_size_of_their_training(first, exported, dataset):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(5, 24, 24, 1), dtype=np.uint8)
    labels = np.eye(7, dtype=np.float32)[:5]
    views = resize_batch(images, 48)
    parent = build_with_heads(first.read_config())
    parent.load_weights(first.best_weights)
    predictions = probabilities(np.asarray(parent(views)[Head.ORIGINAL.value].detach()), 1.0)
    for run in (first.path, exported):
        targets = ConsistentTeachers(DistillationConfig(runs=(run,), share=0.75)).blend(labels, images)
        np.testing.assert_allclose(targets, 0.25 * labels + 0.75 * predictions, atol=1e-4)
        assert targets.dtype == np.float32


def test_train_with_consistent_distillation_shows_teacher_and_student_the_same_batch(
    first, dataset, tmp_path, monkeypatch
):
    seen, trained = [], []

    class Recorder(ConsistentTeachers):
        def blend(self, targets, images):
            seen.append(images)
            return super().blend(targets, images)

    original = keras.Model.train_on_batch

    def record_batch(self, images, *arguments, **options):
        trained.append(images)
        return original(self, images, *arguments, **options)

    monkeypatch.setattr("training.fit.targets.ConsistentTeachers", Recorder)
    monkeypatch.setattr(keras.Model, "train_on_batch", record_batch)
    config = consistent_config(first.path, augment={"rotation_degrees": 10, "cutmix_alpha": 1.0})
    run = RunFolder(tmp_path)
    train(config, dataset, run, stop_after_epochs=1)
    assert len(seen) == len(trained) == 4
    assert all(np.array_equal(one, other) for one, other in zip(seen, trained, strict=True))
    assert not run.distillation_answers.exists()


def consistent_config(run, **changes):
    sizes = [{"epoch": 0, "size_px": 24}, {"epoch": 1, "size_px": 48}]
    return tiny_config(
        epochs=2,
        progressive_sizes=sizes,
        distillation={"runs": [run], "share": 1.0, "images": "augmented"},
        **({"augment": {"mixup_alpha": 1.0}} | changes),
    )


@pytest.mark.parametrize("teacher", ["run", "file"])
def test_train_with_consistent_distillation_resumes_exactly(first, exported, dataset, tmp_path, teacher):
    config = consistent_config(first.path if teacher == "run" else exported)
    whole, pieces = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "pieces")
    train(config, dataset, whole)
    for _ in range(2):
        train(config, dataset, pieces, stop_after_epochs=1)
    with np.load(whole.checkpoint) as one, np.load(pieces.checkpoint) as other:
        for name in set(one.files) - {"state"}:
            np.testing.assert_array_equal(one[name], other[name])
    sha256 = weights_sha256([first.path if teacher == "run" else exported])
    assert json.loads(whole.provenance.read_text())["parent_runs"] == sha256


def test_train_of_a_finished_run_predicts_nothing_and_keeps_its_provenance(first, dataset, tmp_path, monkeypatch):
    run, config = RunFolder(tmp_path / "second"), tiny_config(epochs=1, distillation={"runs": [first.path]})
    train(config, dataset, run)
    written = run.provenance.read_text()
    run.distillation_answers.unlink()
    monkeypatch.setattr(provenance, "describe_environment", lambda: {"commit": "a later one"})
    train(config, dataset, run)
    assert not run.distillation_answers.exists()
    assert run.provenance.read_text() == written


def test_provenance_and_export_name_the_parent_runs(first, dataset, tmp_path):
    second, third = RunFolder(tmp_path / "second"), RunFolder(tmp_path / "third")
    train(tiny_config(epochs=1, warm_start=first.path, distillation={"runs": [first.path]}), dataset, second)
    train(tiny_config(epochs=1, warm_start=second.path), dataset, third)
    assert json.loads(second.provenance.read_text())["parent_runs"] == weights_sha256([first.path])
    manifest = export(third, dataset, tmp_path / "model.onnx")
    config = manifest.provenance.config
    assert config["parent_runs"] == weights_sha256([second.path])
    assert config["warm_start_config"]["parent_runs"] == weights_sha256([first.path])
    assert config["warm_start_config"]["warm_start_config"]["epochs"] == 2
    assert "parent_runs" not in config["warm_start_config"]["warm_start_config"]
    all_three = sum(json.loads(folder.report.read_text())["wall_s"] for folder in (first, second, third))
    assert manifest.provenance.wall_s == pytest.approx(all_three, abs=0.06)


def test_provenance_and_card_follow_a_chain_of_runs_to_its_beginning(first, dataset, tmp_path):
    second, third = RunFolder(tmp_path / "second"), RunFolder(tmp_path / "third")
    distilled = {"runs": [first.path], "share": 0.4}
    train(tiny_config(name="second", epochs=1, warm_start=first.path, distillation=distilled), dataset, second)
    train(tiny_config(name="third", epochs=1, warm_start=second.path), dataset, third)
    provenance = export(third, dataset, tmp_path / "model.onnx").provenance
    assert provenance.config["warm_start_config"]["warm_start_config"]["name"] == "tiny"
    all_s = sum(json.loads(folder.report.read_text())["wall_s"] for folder in (first, second, third))
    assert provenance.wall_s == pytest.approx(all_s, abs=0.06)
    card = model_card(record(tmp_path / "model.onnx", dataset, list(Split)[1:]))
    assert "| `third` | 1 | 3 | best weights of `second` | labels |" in card
    assert "| `tiny` | 2 | 3 | random | labels |" in card
    assert (
        f"| best weights of `tiny` | 40% predictions of `{first.path.name}` (distillation), the rest labels |" in card
    )
    configs = [line.split()[5] for line in card.splitlines() if " -m training train " in line]
    assert configs == [f"training/configs/{name}.toml" for name in ("tiny", "second", "third")]


def test_parent_runs_that_are_not_finished_are_refused(dataset, tmp_path):
    for changes in (
        {"warm_start": tmp_path / "none"},
        {"distillation": {"runs": [tmp_path / "none"]}},
        {"distillation": {"runs": [tmp_path / "none.onnx"]}},
    ):
        with pytest.raises(TrainingError, match=r"not a finished run|none.onnx does not exist"):
            train(tiny_config(epochs=1, **changes), dataset, RunFolder(tmp_path / "run"))
