"""A run that starts from another and learns from it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from app.contract.scores import probabilities
from tests.support.datasets import tiny_config
from training import provenance
from training.architectures.heads import Head, build_with_heads
from training.data.fer2013 import Split
from training.errors import TrainingError
from training.evaluation.evaluate import record
from training.export.card import model_card
from training.export.export import export
from training.fit import distillation
from training.fit.distillation import describe, start_from, teach
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.fit.widen import widen


@pytest.fixture(scope="module")
def first(dataset, tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("first") / "run")
    train(tiny_config(epochs=2), dataset, run)
    return run


def test_teach_blends_the_labels_with_the_mean_over_image_and_mirror_image(first, dataset, tmp_path):
    images, labels = dataset[Split.TRAINING].images[:5], np.eye(7, dtype=np.float32)[:5]
    taught = teach(labels, images, [first.path], 0.25, tmp_path / "kept.npz")
    teacher = build_with_heads(first.read_config())
    teacher.load_weights(first.best_weights)
    views = [np.asarray(teacher(view)[Head.ORIGINAL.value].detach()) for view in (images, images[:, :, ::-1].copy())]
    answers = (probabilities(views[0], 1.0) + probabilities(views[1], 1.0)) / 2
    np.testing.assert_allclose(taught, 0.75 * labels + 0.25 * answers, atol=1e-5)
    np.testing.assert_allclose(taught.sum(axis=1), 1, atol=1e-6)
    assert taught.dtype == np.float32


def test_teach_several_runs_count_equally(first, dataset, tmp_path):
    other = RunFolder(tmp_path / "other")
    train(tiny_config(epochs=1, seed=8), dataset, other)
    images, labels = dataset[Split.TRAINING].images[:5], np.zeros((5, 7), np.float32)
    alone = [teach(labels, images, [path], 1.0, path / "kept.npz") for path in (first.path, other.path)]
    both = teach(labels, images, [first.path, other.path], 1.0, tmp_path / "kept.npz")
    np.testing.assert_allclose(both, sum(alone) / 2, atol=1e-6)


def test_teach_asks_once_and_again_when_the_question_changes(first, dataset, tmp_path, monkeypatch):
    images, labels = dataset[Split.TRAINING].images[:5], np.zeros((5, 7), np.float32)
    kept = tmp_path / "kept.npz"
    taught = teach(labels, images, [first.path], 1.0, kept)

    def unwanted(path, images):
        raise AssertionError("asked again")

    monkeypatch.setattr(distillation, "_answers", unwanted)
    np.testing.assert_array_equal(teach(labels, images, [first.path], 1.0, kept), taught)
    other = shutil.copytree(first.path, tmp_path / "other")
    (other / "best.weights.h5").write_bytes(first.best_weights.read_bytes() + b" ")
    for changed in ((images[::-1], [first.path]), (images, [other])):
        with pytest.raises(AssertionError, match="asked again"):
            teach(labels, *changed, 1.0, kept)
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(AssertionError, match="asked again"):
        teach(labels, images, [first.path], 1.0, kept)


def test_train_with_start_begins_where_the_first_run_ended(first, dataset, tmp_path):
    run = RunFolder(tmp_path / "second")
    still = {"name": "adamw", "learning_rate": 1e-12}  # steps too small to be seen: the start's weights remain
    train(tiny_config(epochs=1, start=first.path, ema_momentum=None, optimizer=still), dataset, run)
    kernels = []
    for path in (first, run):
        model = build_with_heads(path.read_config())
        model.load_weights(path.best_weights)
        kernels.append(model.get_layer("block1_conv1").get_weights()[0])
    np.testing.assert_allclose(kernels[1], kernels[0], atol=1e-6)


def test_train_with_start_has_an_optimiser_of_its_own(first, dataset, tmp_path):
    """The file of weights holds the first run's optimiser too, whose rate has come down to nothing."""
    run = RunFolder(tmp_path / "second")
    cosine = {"name": "adamw", "learning_rate": 0.01, "schedule": "cosine"}
    state = train(tiny_config(epochs=2, start=first.path, optimizer=cosine), dataset, run, stop_after_epochs=1)
    steps = 70 // run.read_config().batch_size
    assert state.history[0]["learning_rate"] == pytest.approx(0.005)
    with np.load(run.checkpoint) as saved:
        assert any(saved[name].shape == () and saved[name] == steps for name in saved.files if name != "state")


def test_start_without_the_crowds_head_leaves_that_head_fresh(first):
    model = build_with_heads(tiny_config(crowd={"loss_weight": 1.0}))
    fresh = model.get_layer(Head.CROWD.value).get_weights()[0]
    start_from(model, first.path, seed=1)
    earlier = build_with_heads(first.read_config())
    earlier.load_weights(first.best_weights)
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), dtype=np.uint8)
    answers, expected = (each.predict(images, verbose=0)[Head.ORIGINAL.value] for each in (model, earlier))
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    np.testing.assert_array_equal(model.get_layer(Head.CROWD.value).get_weights()[0], fresh)


def test_train_with_teachers_learns_their_answers(first, dataset, tmp_path):
    """With the whole target from the teacher, labels no longer matter."""
    weights = []
    for labels in (dataset[Split.TRAINING].labels, np.roll(dataset[Split.TRAINING].labels, 1)):
        training = dataset[Split.TRAINING]
        relabelled = type(dataset)(
            {**dataset.splits, Split.TRAINING: type(training)(training.images, labels, training.names)}, dataset.sha256
        )
        run = RunFolder(tmp_path / str(labels[0]))
        train(tiny_config(epochs=1, teachers={"runs": [first.path], "share": 1.0}), relabelled, run)
        model = build_with_heads(run.read_config())
        model.load_weights(run.best_weights)
        weights.append(model.get_layer("block1_conv1").get_weights()[0])
    np.testing.assert_array_equal(*weights)


def test_train_of_a_finished_run_asks_no_teacher_and_leaves_its_provenance(first, dataset, tmp_path, monkeypatch):
    run, config = RunFolder(tmp_path / "second"), tiny_config(epochs=1, teachers={"runs": [first.path]})
    train(config, dataset, run)
    written = run.provenance.read_text()
    run.teachers_answers.unlink()
    monkeypatch.setattr(provenance, "describe_environment", lambda: {"commit": "a later one"})
    train(config, dataset, run)
    assert not run.teachers_answers.exists()
    assert run.provenance.read_text() == written


def test_provenance_and_export_name_what_was_borrowed(first, dataset, tmp_path):
    second, third = RunFolder(tmp_path / "second"), RunFolder(tmp_path / "third")
    train(tiny_config(epochs=1, start=first.path, teachers={"runs": [first.path]}), dataset, second)
    train(tiny_config(epochs=1, start=second.path), dataset, third)
    assert json.loads(second.provenance.read_text())["borrowed_weights"] == describe([first.path])
    manifest = export(third, dataset, tmp_path / "model.onnx")
    config = manifest.provenance.config
    assert config["parent_runs"] == describe([second.path])
    assert config["warm_start_config"]["parent_runs"] == describe([first.path])
    assert config["warm_start_config"]["warm_start_config"]["epochs"] == 2
    assert "parent_runs" not in config["warm_start_config"]["warm_start_config"]
    all_three = sum(json.loads(folder.report.read_text())["wall_s"] for folder in (first, second, third))
    assert manifest.provenance.wall_s == pytest.approx(all_three, abs=0.06)


def test_provenance_and_card_follow_a_chain_of_runs_to_its_beginning(first, dataset, tmp_path):
    second, third = RunFolder(tmp_path / "second"), RunFolder(tmp_path / "third")
    taught = {"runs": [first.path], "share": 0.4}
    train(tiny_config(name="second", epochs=1, start=first.path, teachers=taught), dataset, second)
    train(tiny_config(name="third", epochs=1, start=second.path), dataset, third)
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


def test_start_and_teacher_that_are_not_finished_are_refused(dataset, tmp_path):
    for changes in ({"start": tmp_path / "none"}, {"teachers": {"runs": [tmp_path / "none"]}}):
        with pytest.raises(TrainingError, match=r"not a finished run"):
            train(tiny_config(epochs=1, **changes), dataset, RunFolder(tmp_path / "run"))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"architecture": "vgg", "widths": [4, 8, 16]}, "other layers"),
        ({"architecture": "vgg", "widths": [2, 8]}, "block1_conv1 has 2 channels and the run to start from 4"),
    ],
)
def test_start_of_another_network_is_refused(first, model, reason):
    with pytest.raises(TrainingError, match=reason):
        start_from(build_with_heads(tiny_config(model=model)), first.path, 1)


def test_start_of_a_network_that_cannot_be_widened_is_refused():
    narrow, wide = (
        build_with_heads(tiny_config(model={"architecture": "resnet_small", "widths": [width, width]}))
        for width in (4, 8)
    )
    with pytest.raises(TrainingError, match="cannot begin from a narrower one"):
        widen(narrow, wide, 1)


@pytest.mark.parametrize("crowd", [None, {"loss_weight": 1.0}])
def test_start_of_a_wider_network_answers_as_the_narrower_one(crowd):
    """Statistics, factors and biases are made unlike one another, so that a mistake in any of them shows."""
    generator = np.random.default_rng(3)
    narrow, wide = (
        build_with_heads(tiny_config(crowd=crowd, model={"architecture": "vgg", "widths": widths}))
        for widths in ([4, 5], [9, 11])
    )
    narrow.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in narrow.weights])
    widen(narrow, wide, 1)
    images = generator.integers(0, 256, (6, 48, 48, 1), dtype=np.uint8)
    expected, answers = (model.predict(images, verbose=0) for model in (narrow, wide))
    assert expected.keys() == answers.keys()
    for head, logits in answers.items():
        np.testing.assert_allclose(logits, expected[head], rtol=1e-4)


def test_start_of_a_wider_network_has_copies_that_will_part():
    narrow, wide = (
        build_with_heads(tiny_config(model={"architecture": "vgg", "widths": widths})) for widths in ([4, 4], [8, 8])
    )
    widen(narrow, wide, 1)
    kernel = wide.get_layer("block1_conv2").get_weights()[0]
    copies = wide.get_layer("block1_conv1").get_weights()[0]
    for new in range(4, 8):
        (old,) = [index for index in range(4) if np.array_equal(copies[..., index], copies[..., new])]
        assert not np.allclose(kernel[:, :, old], kernel[:, :, new])


def test_train_with_a_narrower_start_begins_with_its_accuracy(first, dataset, tmp_path):
    still = {"name": "adamw", "learning_rate": 1e-12}
    wider = {"architecture": "vgg", "widths": [8, 8]}
    run = RunFolder(tmp_path / "wider")
    train(tiny_config(epochs=1, start=first.path, ema_momentum=None, optimizer=still, model=wider), dataset, run)
    models = [build_with_heads(path.read_config()) for path in (first, run)]
    for model, path in zip(models, (first, run), strict=True):
        model.load_weights(path.best_weights)
    head = [model.get_layer(Head.ORIGINAL).get_weights()[1] for model in models]
    np.testing.assert_allclose(head[1], head[0], atol=1e-6)
