"""The training loop: it learns, resumes exactly, chooses on PublicTest only and keeps records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sized
from pathlib import Path

import keras
import numpy as np
import pytest

import training.fit.train as train_module
from tests.support.datasets import edition_files, tiny_config, write_archive, write_votes
from tests.support.paths import REPOSITORY
from training import cli
from training.cli import options
from training.config import OptimizerConfig, load_config
from training.data import batches
from training.data.fer2013 import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.fit.compiling import compile_model
from training.fit.optimizers import build_optimizer
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.fit.weight_average import WeightAverage


def arrays_of(run: RunFolder) -> dict[str, np.ndarray]:
    with np.load(run.checkpoint) as saved:
        return {name: saved[name] for name in saved.files if name != "state"}


def assert_same_weights(one: RunFolder, other: RunFolder) -> None:
    left, right = arrays_of(one), arrays_of(other)
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name])
    best = []
    for run in (one, other):
        model = compile_model(tiny_config(), 4)
        model.load_weights(run.best_weights)
        best.append(model.get_weights())
    for array, same in zip(*best, strict=True):
        np.testing.assert_array_equal(array, same)


@pytest.fixture(autouse=True)
def without_plots(monkeypatch):
    """Skip the plots, which take longer than an epoch. The fixture `uninterrupted`, created earlier, has them."""
    monkeypatch.setattr(train_module.plots, "plot_curves", lambda history, path: None)
    monkeypatch.setattr(train_module.plots, "plot_confusion", lambda *arguments: None)


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("runs") / "whole")
    train(tiny_config(), dataset, run)
    return run


def test_train_learns_the_synthetic_labels(dataset, tmp_path):
    config = tiny_config(epochs=12, augment={}, ema_momentum=None)
    state = train(config, dataset, RunFolder(tmp_path))
    assert state.history[-1]["loss"] < 0.8 * state.history[0]["loss"]
    assert state.best_val_accuracy > 0.5


def test_train_interrupted_after_each_epoch_gives_the_same_weights(dataset, tmp_path, uninterrupted):
    run = RunFolder(tmp_path)
    for _ in range(3):
        train(tiny_config(), dataset, run, stop_after_epochs=1)
        keras.utils.set_random_seed(999)  # random numbers drawn between two sessions have no effect
    assert_same_weights(run, uninterrupted)
    strip = [{key: value for key, value in entry.items() if key != "seconds"} for entry in read(run.history)]
    assert strip == [{k: v for k, v in entry.items() if k != "seconds"} for entry in read(uninterrupted.history)]


def test_train_interrupted_within_an_epoch_loses_only_that_epoch(dataset, tmp_path, uninterrupted, monkeypatch):
    run, calls = RunFolder(tmp_path), 0
    original = batches.augment_batch

    def interrupt(*arguments):
        nonlocal calls
        calls += 1
        if calls == 7:  # in the second epoch: an epoch has four steps
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(batches, "augment_batch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(), dataset, run)
    assert len(read(run.history)) == 1
    train(tiny_config(), dataset, run)
    assert_same_weights(run, uninterrupted)


def read(path):
    return json.loads(path.read_text())


def test_train_run_folder_has_the_whole_record(uninterrupted):
    run = uninterrupted
    assert read(run.config)["name"] == "tiny"
    assert len(read(run.history)) == 3
    assert set(read(run.history)[0]) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    provenance = read(run.provenance)
    assert set(provenance) >= {"commit", "packages", "hardware", "dataset", "config", "parameters", "python"}
    assert provenance["dataset"]["counts"] == {"Training": 70, "PublicTest": 28, "PrivateTest": 28}
    assert provenance["packages"]["keras"] == keras.__version__
    report = read(run.report)
    assert set(report["PublicTest"]["per_class"]["happy"]) == {"precision", "recall", "f1", "support"}
    assert np.sum(report["PublicTest"]["confusion"]) == 28
    for plot in ("curves.png", "confusion_matrix.png"):
        assert (run.path / plot).read_bytes().startswith(b"\x89PNG")


def test_train_best_weights_are_those_of_the_best_epoch(dataset, uninterrupted):
    report = read(uninterrupted.report)
    best = report["best_epoch"] - 1
    history = read(uninterrupted.history)
    assert history[best]["val_accuracy"] == max(entry["val_accuracy"] for entry in history)
    assert report["PublicTest"]["accuracy"] == pytest.approx(history[best]["val_accuracy"], abs=1e-6)


def test_train_never_reads_private_test(dataset, tmp_path):
    class Guarded(dict):
        def __getitem__(self, split):
            assert split is not Split.PRIVATE_TEST, "training read PrivateTest"
            return super().__getitem__(split)

    class Countable(Sized):
        """Has only a length, which the provenance needs."""

        def __len__(self):
            return 28

    closed = SplitData(images=None, labels=Countable(), names=None)
    splits = Guarded(dataset.splits | {Split.PRIVATE_TEST: closed})
    train(tiny_config(epochs=1), Fer2013(splits, dataset.sha256), RunFolder(tmp_path))


def test_train_another_config_in_the_same_folder_is_refused(dataset, uninterrupted):
    with pytest.raises(TrainingError, match="another config"):
        train(tiny_config(seed=4), dataset, uninterrupted)


def test_train_damaged_checkpoint_is_refused(dataset, tmp_path):
    run = RunFolder(tmp_path)
    train(tiny_config(), dataset, run, stop_after_epochs=1)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:2000])
    with pytest.raises(TrainingError, match="damaged"):
        train(tiny_config(), dataset, run)


def test_train_stops_early_when_nothing_improves(dataset, tmp_path):
    config = tiny_config(epochs=30, early_stopping_patience=2, optimizer={"learning_rate": 1e-12})
    run = RunFolder(tmp_path)
    stopped = train(config, dataset, run)
    assert stopped.epochs_done == stopped.best_epoch + 1 + 2 < 30
    assert run.report.exists()
    assert train(config, dataset, run).epochs_done == stopped.epochs_done  # it stays stopped


def test_train_diverged_loss_is_reported(dataset, tmp_path):
    config = tiny_config(optimizer={"name": "sgd", "learning_rate": 1e30, "schedule": "constant"})
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(config, dataset, RunFolder(tmp_path))


def test_train_batch_larger_than_training_is_refused_before_the_folder_is_made(dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"expected at most 70\. Received: 71"):
        train(tiny_config(batch_size=71), dataset, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_train_with_accuracy_0_still_writes_a_report(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "validate", lambda *_: {"val_loss": 9.0, "val_accuracy": 0.0})
    run = RunFolder(tmp_path)
    assert train(tiny_config(epochs=2), dataset, run).best_epoch == 0
    assert run.report.exists()


def test_train_uses_every_image_at_most_once_per_epoch_in_a_new_order(dataset, tmp_path, monkeypatch):
    numbered = SplitData(
        np.broadcast_to(np.arange(70, dtype=np.uint8).reshape(70, 1, 1, 1), (70, 48, 48, 1)).copy(),
        dataset[Split.TRAINING].labels,
        dataset[Split.TRAINING].names,
    )
    seen: list[int] = []
    original = batches.augment_batch

    def spy(images, *arguments):
        seen.extend(images[:, 0, 0, 0].tolist())
        return original(images, *arguments)

    monkeypatch.setattr(batches, "augment_batch", spy)
    splits = dict(dataset.splits) | {Split.TRAINING: numbered}
    train(tiny_config(epochs=2), Fer2013(splits, dataset.sha256), RunFolder(tmp_path))
    first, second = seen[:64], seen[64:]
    assert len(set(first)) == len(set(second)) == 64
    assert first != sorted(first)
    assert first != second


def first_epoch_weights(dataset, path, **changes) -> list[np.ndarray]:
    run = RunFolder(path)
    train(tiny_config(**changes), dataset, run, stop_after_epochs=1)
    return list(arrays_of(run).values())


def test_train_same_seed_gives_the_same_weights_and_another_seed_does_not(dataset, tmp_path):
    one, same, other = (first_epoch_weights(dataset, tmp_path / name, seed=int(name[0])) for name in ("3a", "3b", "4"))
    assert all((left == right).all() for left, right in zip(one, same, strict=True))
    assert any((left != right).any() for left, right in zip(one, other, strict=True))


def test_train_average_counts_its_steps_over_all_epochs(dataset, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(WeightAverage, "update", lambda self, step: steps.append(step))
    for _ in range(2):
        train(tiny_config(epochs=2), dataset, RunFolder(tmp_path), stop_after_epochs=1)
    assert steps == list(range(8))


def test_train_half_precision_resumes_exactly(dataset, tmp_path):
    config = tiny_config(epochs=2, precision="mixed_bfloat16")
    whole, pieces = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "pieces")
    train(config, dataset, whole)
    for _ in range(2):
        train(config, dataset, pieces, stop_after_epochs=1)
    for left, right in zip(arrays_of(whole).values(), arrays_of(pieces).values(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_train_progressive_sizes_train_at_their_size(dataset, tmp_path, monkeypatch):
    sizes = []
    original = batches.augment_batch

    def spy(images, config, generator, size_px):
        sizes.append(size_px)
        return original(images, config, generator, size_px)

    monkeypatch.setattr(batches, "augment_batch", spy)
    steps = [{"epoch": 0, "size_px": 24}, {"epoch": 2, "size_px": 48}]
    train(tiny_config(progressive_sizes=steps), dataset, RunFolder(tmp_path))
    assert sizes == [24] * 8 + [48] * 4


def test_average_applies_to_all_weights_and_restores_the_own_ones():
    model = compile_model(tiny_config(), 4)
    start = [np.array(weight) for weight in model.get_weights()]
    average = WeightAverage(model, momentum=0.5)
    model.set_weights([weight + 1 for weight in start])
    average.update(step=1000)
    with average.applied():
        for weight, before in zip(model.get_weights(), start, strict=True):
            np.testing.assert_allclose(weight, before + 0.5, atol=1e-6)
    for weight, before in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(weight, before + 1)


def test_average_restores_the_own_weights_after_an_error():
    model = compile_model(tiny_config(), 4)
    average = WeightAverage(model, momentum=0.5)
    own = [weight + 1 for weight in model.get_weights()]
    model.set_weights(own)
    with pytest.raises(KeyboardInterrupt), average.applied():
        raise KeyboardInterrupt
    for weight, expected in zip(model.get_weights(), own, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="graphs of gradients are kept by torch")
def test_average_keeps_no_graph_of_gradients():
    model = compile_model(tiny_config(), 4)
    average = WeightAverage(model, momentum=0.9)
    average.update(0)
    assert not any(value.requires_grad for value in average._values)


def test_average_loses_the_random_start_quickly():
    model = compile_model(tiny_config(), 4)
    average = WeightAverage(model, momentum=0.999)
    model.set_weights([weight * 0 + 5 for weight in model.get_weights()])
    for step in range(50):
        average.update(step)
    assert all(np.abs(array - 5).max() < 0.01 for array in average.arrays())


def learning_rates(config: OptimizerConfig, steps: list[int]) -> list[float]:
    optimizer = build_optimizer(config, epochs=10, steps_per_epoch=10)
    rates = []
    for step in steps:
        optimizer.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return rates


def test_optimizer_cosine_warms_up_and_ends_at_0():
    rates = learning_rates(OptimizerConfig(learning_rate=0.1, warmup_epochs=2), [0, 10, 20, 60, 100])
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-3)


def test_optimizer_constant_rate_is_constant():
    assert learning_rates(OptimizerConfig(learning_rate=0.1, schedule="constant"), [0, 99]) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_optimizer_decays_kernels_but_no_biases(name):
    config = OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5, schedule="constant")
    optimizer = build_optimizer(config, 1, 1)
    names = ("kernel", "bias", "gamma", "beta")
    variables = [keras.Variable(np.ones(3), name=name) for name in names]
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(3)] * len(variables))
    kernel, *others = (keras.ops.convert_to_numpy(variable) for variable in variables)
    np.testing.assert_allclose(kernel, 1 - 0.1 * 0.5, atol=1e-6)
    for other in others:
        np.testing.assert_array_equal(other, 1)


def stepped(config: OptimizerConfig, steps: int = 2) -> float:
    """Return the distance that gradients of 1 move a variable."""
    optimizer = build_optimizer(config, 10, 10)
    variable = keras.Variable(np.zeros(1), name="kernel")
    optimizer.build([variable])
    for _ in range(steps):
        optimizer.apply([keras.ops.ones(1)])
    return float(-keras.ops.convert_to_numpy(variable)[0])


def test_optimizer_sgd_moves_by_nesterov_momentum():
    plain = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.0, schedule="constant")
    assert stepped(plain) == pytest.approx(0.2)
    # Nesterov: velocity v = 0.9 v - 0.1, step 0.9 v - 0.1; -0.19 and then -0.271.
    assert stepped(plain.model_copy(update={"momentum": 0.9})) == pytest.approx(0.19 + 0.271)


def test_optimizer_adamw_moves_by_the_rate_for_every_gradient():
    assert stepped(OptimizerConfig(learning_rate=0.1, schedule="constant")) == pytest.approx(0.2, rel=1e-4)


def test_compile_label_smoothing_raises_the_loss_of_certain_logits():
    images, labels = np.zeros((4, 48, 48, 1), np.uint8), np.eye(7, dtype=np.float32)[:4]
    losses = []
    for smoothing in (0.0, 0.2):
        model = compile_model(tiny_config(loss={"label_smoothing": smoothing}), 4)
        logits = np.zeros(7)
        logits[0] = 10
        kernel, _ = model.get_layer("logits").get_weights()
        model.get_layer("logits").set_weights([kernel * 0, logits])
        losses.append(model.evaluate(images[:1], labels[:1], verbose=0, return_dict=True)["loss"])
    certain = np.log(1 + 6 * np.exp(-10))
    assert losses[0] == pytest.approx(certain, abs=1e-6)
    assert losses[1] == pytest.approx(certain + 0.2 * 6 / 7 * 10, rel=1e-5)


def test_shipped_configs_are_valid():
    for path in (REPOSITORY / "training" / "configs").glob("*.toml"):
        assert load_config(path).name == path.stem


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["explore", "--data", "none"], "error: none does not exist"),
        (["export", "none", "--data", "a.zip"], "expected 3995 angry"),
        (
            ["train", "--config", str(REPOSITORY / "training/configs/vgg.toml"), "--data", "a.zip"],
            "expected 3995 angry",
        ),
        (["card", "none.onnx"], "none.onnx does not exist"),
    ],
)
def test_command_line_prints_errors_as_sentences(tmp_path, monkeypatch, capsys, arguments, sentence):
    write_archive(tmp_path / "a.zip", edition_files())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    assert cli.main() == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_command_line_seed_replaces_that_of_the_config(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(options, "load_fer2013", lambda source: None)
    monkeypatch.setattr(
        train_module, "train", lambda config, dataset, run, votes, **options: trained.append((config, run.path))
    )
    config = REPOSITORY / "training/configs/vgg_second.toml"
    votes = write_votes(tmp_path / "votes.csv", {"one": "0,9,1,0,0,0,0,0,0,0"})
    monkeypatch.setattr(
        sys, "argv", ["training", "train", "--config", str(config), "--seed", "2", "--votes", str(votes)]
    )
    assert cli.main() == 0
    ((config, folder),) = trained
    assert (config.seed, folder, config.warm_start) == (2, Path("runs/vgg_second-seed2"), Path("runs/vgg-seed2"))


def test_command_line_interrupted_says_how_to_continue(tmp_path, monkeypatch, capsys):
    def interrupt(source):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.data.labelled.fer2013_source.complete_fer2013", interrupt)
    monkeypatch.setattr(sys, "argv", ["training", "explore", "--out", str(tmp_path)])
    assert cli.main() == 130
    assert "repeat the command to continue" in capsys.readouterr().err


def test_command_line_process_ends_with_a_sentence_and_status_2(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "training", "train", "--config", "none.toml"],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: config none.toml cannot be read")
    assert "Traceback" not in ended.stderr
