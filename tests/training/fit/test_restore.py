"""A run folder made from a shipped file."""

from __future__ import annotations

import json

import keras
import numpy as np
import onnxruntime as ort
import pytest

from app.contract.manifest import load_manifest
from app.contract.sidecar import ManifestError
from tests.support.datasets import tiny_config
from training.architectures.heads import Head, build_with_heads
from training.data.fer2013 import Split
from training.errors import TrainingError
from training.evaluation.evaluate import predict_logits, record
from training.export.card import model_card
from training.export.export import export
from training.fit.restore import restore
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture(scope="module")
def shipped(dataset, tmp_path_factory):
    """The exported file of a trained run, and the run."""
    folder = tmp_path_factory.mktemp("shipped")
    run = RunFolder(folder / "run")
    train(tiny_config(epochs=2), dataset, run)
    export(run, dataset, folder / "tiny.onnx")
    return folder / "tiny.onnx", run


def model_of(run: RunFolder) -> keras.Model:
    model = build_with_heads(run.read_config())
    model.load_weights(run.best_weights)
    return model


def test_restored_run_has_the_logits_of_the_file(shipped, dataset, tmp_path):
    path, _ = shipped
    run = RunFolder(tmp_path / "restored")
    restore(path, dataset, run)
    images = dataset[Split.PRIVATE_TEST].images
    expected = predict_logits(ort.InferenceSession(path), images)
    answers = model_of(run).predict(images, verbose=0)[Head.ORIGINAL.value]
    np.testing.assert_allclose(answers, expected, atol=1e-4)


def test_restored_normalisation_has_the_statistics_of_training(shipped, dataset, tmp_path):
    """With the statistics of a batch instead of the stored ones, a training step has the same features."""
    path, _ = shipped
    run = RunFolder(tmp_path / "restored")
    restore(path, dataset, run)
    model = model_of(run)
    images = dataset[Split.TRAINING].images
    first = keras.Model(model.input, model.get_layer("block1_conv1").output)
    features = keras.ops.convert_to_numpy(first(images))
    _, _, mean, variance = model.get_layer("block1_conv1_bn").get_weights()
    np.testing.assert_allclose(mean, features.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(variance, features.var(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)


def test_restored_run_is_exported_with_the_history_of_the_file(shipped, dataset, tmp_path):
    path, original = shipped
    run = RunFolder(tmp_path / "restored")
    restore(path, dataset, run)
    manifest = export(run, dataset, tmp_path / "again.onnx")
    first = load_manifest(path)
    assert manifest.provenance.config == first.provenance.config | {"restored_from": first.sha256}
    assert manifest.provenance.wall_s == first.provenance.wall_s
    assert manifest.provenance.commit == first.provenance.commit
    restored, trained = (json.loads(each.report.read_text())["PublicTest"] for each in (run, original))
    assert restored["confusion"] == trained["confusion"]


def test_run_with_warm_start_from_a_restored_run_records_its_history(shipped, dataset, tmp_path):
    path, _ = shipped
    start, run = RunFolder(tmp_path / "restored"), RunFolder(tmp_path / "second")
    restore(path, dataset, start)
    train(tiny_config(epochs=1, warm_start=start.path), dataset, run)
    export(run, dataset, tmp_path / "second.onnx")
    manifest = record(tmp_path / "second.onnx", dataset, [Split.PRIVATE_TEST])
    config, first = manifest.provenance.config, load_manifest(path)
    assert "best weights of `tiny`, restored from its exported file" in model_card(manifest)
    assert config["warm_start_config"] == first.provenance.config | {"restored_from": first.sha256}


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_restore_refuses_lower_precision(shipped, dataset, tmp_path, precision):
    _, run = shipped
    export(run, dataset, tmp_path / "small.onnx", precision=precision)
    with pytest.raises(TrainingError, match=f"full precision.*Received: {precision}"):
        restore(tmp_path / "small.onnx", dataset, RunFolder(tmp_path / "restored"))


def test_restore_refuses_other_networks(dataset, tmp_path):
    run = RunFolder(tmp_path / "run")
    model = {"architecture": "repvgg", "widths": [4, 8]}
    train(tiny_config(epochs=1, model=model), dataset, run)
    export(run, dataset, tmp_path / "other.onnx")
    with pytest.raises(TrainingError, match=r"expected a network vgg.*Received: repvgg"):
        restore(tmp_path / "other.onnx", dataset, RunFolder(tmp_path / "restored"))


def test_restore_refuses_a_folder_that_is_not_empty_and_a_damaged_file(shipped, dataset, tmp_path):
    path, run = shipped
    with pytest.raises(TrainingError, match="is not an empty folder"):
        restore(path, dataset, run)
    with pytest.raises(ManifestError):
        restore(tmp_path / "nothing.onnx", dataset, RunFolder(tmp_path / "restored"))
    assert not (tmp_path / "restored").exists()
