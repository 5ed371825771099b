"""What the last epochs decide: the mean of their weights, the size they are judged at, and their second passes."""

from __future__ import annotations

import hashlib
import json

import keras
import numpy as np
import pytest

import training.fit.train as train_module
from tests.support.datasets import tiny_config
from training.architectures.heads import Head, build_with_heads
from training.config import SharpnessAwareConfig
from training.data.batches import batch_drawer
from training.data.splits import Split
from training.evaluation.metrics import measure
from training.export.network import load_network
from training.fit.compiling import compile_model
from training.fit.losses import targets_for
from training.fit.parent_runs import load_trained, weights_sha256
from training.fit.run_folder import RunFolder
from training.fit.sharpness import SharpnessAware
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


def weights_after_each_epoch(config, dataset, run: RunFolder) -> list[list[np.ndarray]]:
    """Train epoch by epoch; return the averaged weights that were validated after each epoch."""
    found = []
    for epoch in range(config.epochs):
        train(config, dataset, run, stop_after_epochs=1)
        model = compile_model(config, 4, epoch)
        averages = [train_module.WeightAverage(model, 0.9), train_module.EpochMean(model)]
        run.load_checkpoint(model, averages)
        found.append(averages[0].arrays())
    return found


def test_averaged_epochs_are_the_weights_of_the_run(dataset, tmp_path):
    config, run = tiny_config(averaged_epochs=2), RunFolder(tmp_path / "run")
    _, second, third = weights_after_each_epoch(config, dataset, run)
    expected = [(one + other) / 2 for one, other in zip(second, third, strict=True)]
    assert run.result_weights == run.averaged_weights
    for array, wanted in zip(load_trained(run.path).get_weights(), expected, strict=True):
        np.testing.assert_allclose(array, wanted, atol=1e-6)
    # Everything that reads a run reads these weights: report, export, provenance of later runs.
    logits = load_network(run).trained.predict(dataset[Split.PUBLIC_TEST].images, verbose=0)
    report = json.loads(run.report.read_text())
    assert report["averaged_epochs"] == 2
    assert report["PublicTest"]["nll"] == pytest.approx(
        measure(logits, dataset[Split.PUBLIC_TEST].labels, 1.0).nll, rel=1e-4
    )
    digest = hashlib.sha256(run.averaged_weights.read_bytes()).hexdigest()
    assert weights_sha256([run.path]) == {str(run.path): digest}


def test_averaged_weights_are_the_same_after_an_interruption(dataset, tmp_path):
    config = tiny_config(averaged_epochs=2)
    whole, pieces = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "pieces")
    train(config, dataset, whole)
    for _ in range(3):
        train(config, dataset, pieces, stop_after_epochs=1)
    for one, other in zip(load_trained(whole.path).get_weights(), load_trained(pieces.path).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_validation_at_the_training_size_sees_images_of_that_size(dataset, tmp_path, monkeypatch):
    sides, original = [], train_module.validate

    def spy(model, validation, *arguments):
        sides.append(validation.images.shape[1:])
        return original(model, validation, *arguments)

    monkeypatch.setattr(train_module, "validate", spy)
    sizes = [{"epoch": 0, "size_px": 24}, {"epoch": 2, "size_px": 48}]
    for validation_size in ("training", "crop"):
        config = tiny_config(progressive_sizes=sizes, validation_size=validation_size)
        train(config, dataset, RunFolder(tmp_path / validation_size))
    assert sides == [(24, 24, 1)] * 2 + [(48, 48, 1)] * 4


def test_best_epoch_is_one_of_the_last_size(dataset, tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.9, 0.3, 0.4, 0.35])
    monkeypatch.setattr(
        train_module, "validate", lambda *arguments: {"val_loss": 1.0, "val_accuracy": next(accuracies)}
    )
    sizes = [{"epoch": 0, "size_px": 24}, {"epoch": 2, "size_px": 48}]
    config = tiny_config(epochs=5, progressive_sizes=sizes, validation_size="training", early_stopping_patience=2)
    assert train(config, dataset, RunFolder(tmp_path)).best_epoch == 3


def test_sharpness_aware_update_takes_the_gradient_of_nearby_weights(dataset):
    """With plain SGD, the update is the gradient at weights that are one radius away, along the first gradient."""
    import torch

    keras.utils.set_random_seed(0)
    rate, radius = 0.1, 0.3
    optimizer = {"name": "sgd", "learning_rate": rate, "momentum": 0.0, "nesterov": False, "schedule": "constant"}
    config = tiny_config(
        optimizer=optimizer,
        loss={},
        model={"architecture": "vgg", "widths": [4], "stage_dropout": 0, "head_dropout": 0},
    )
    model = compile_model(config, 4)
    training, head = dataset[Split.TRAINING], Head.ORIGINAL.value
    images, labels = training.images[:16], {head: targets_for(config.loss, training.labels[:16])}
    weights = {head: np.ones(16, np.float32)}
    before = [np.array(weight) for weight in model.get_weights()]

    def gradients() -> list[np.ndarray]:
        logits = model(images, training=True)[head]
        loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels[head]))
        found = torch.autograd.grad(loss, [variable.value for variable in model.trainable_weights])
        return [gradient.numpy() for gradient in found]

    first = gradients()
    statistics = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.non_trainable_weights]
    norm = np.sqrt(sum((gradient**2).sum() for gradient in first))
    own = [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.trainable_weights]
    for variable, value, gradient in zip(model.trainable_weights, own, first, strict=True):
        variable.assign(value + gradient * radius / norm)
    expected = [value - rate * gradient for value, gradient in zip(own, gradients(), strict=True)]
    model.set_weights(before)
    logs = SharpnessAware(model, SharpnessAwareConfig(last_epochs=1, radius=radius)).train_on_batch(
        images, labels, weights
    )
    for variable, wanted in zip(model.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), wanted, atol=1e-5)
    # The statistics of batch normalisation are those of one pass, at the weights before the update.
    for variable, wanted in zip(model.non_trainable_weights, statistics, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), wanted, atol=1e-5)
    model.set_weights(before)
    plain = model.train_on_batch(images, labels, sample_weight=weights, return_dict=True)
    assert logs == pytest.approx(plain, rel=1e-4)


def test_sharpness_aware_epochs_are_the_last_ones(dataset, tmp_path, monkeypatch):
    calls, original = [], SharpnessAware.train_on_batch

    def spy(self, *arguments):
        calls.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(SharpnessAware, "train_on_batch", spy)
    for epoch in range(3):
        train(tiny_config(sharpness_aware={"last_epochs": 1}), dataset, RunFolder(tmp_path), stop_after_epochs=1)
        assert len(calls) == (4 if epoch == 2 else 0)


def test_workers_draw_the_same_batches(dataset):
    config = tiny_config(augment={"rotation_degrees": 10, "mixup_alpha": 1.0, "cutmix_alpha": 1.0})
    images, order = dataset[Split.TRAINING].images, np.arange(70)
    drawn = []
    for workers in (0, 2):
        with batch_drawer(images, config, workers) as drawer:
            drawn.append(list(drawer.batches(order, epoch=1, steps=4)))
    for own, of_worker in zip(*drawn, strict=True):
        np.testing.assert_array_equal(own.images, of_worker.images)
        np.testing.assert_array_equal(own.mix.partners, of_worker.mix.partners)


def test_run_without_the_options_keeps_its_best_weights(dataset, tmp_path):
    run = RunFolder(tmp_path)
    train(tiny_config(epochs=1), dataset, run)
    assert run.result_weights == run.best_weights
    assert not run.averaged_weights.exists()
    assert build_with_heads(run.read_config()).count_params() == load_trained(run.path).count_params()
