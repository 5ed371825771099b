"""The training loop: it learns, resumes exactly, chooses on PublicTest only and keeps records."""

from __future__ import annotations

import json
from collections.abc import Sized

import keras
import numpy as np
import pytest

import training.fit.train as train_module
from tests.support.datasets import tiny_config
from training.data import batches
from training.data.fer2013 import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.fit.compiling import compile_model
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
