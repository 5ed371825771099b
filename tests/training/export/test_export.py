"""Export: the written files reproduce the trained model, and a failed check writes nothing."""

from __future__ import annotations

import json

import keras
import numpy as np
import onnx
import pytest

import training.export.export as export_module
from app.contract.manifest import CONTRACT_KEY, PROVENANCE_KEY, load_manifest
from app.contract.sidecar import golden_path, manifest_path
from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from training import architectures
from training.data.splits import Split
from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS, record
from training.export.export import export
from training.export.network import Network, load_network
from training.fit.run_folder import RunFolder


@pytest.fixture(scope="module")
def model(run, dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    export(run, dataset, path)
    return path


def test_export_writes_a_model_that_the_service_loads(model):
    session = EmotionSession(model, "cpu", threads=1)
    session.self_test()
    assert session.logits(np.zeros((5, 48, 48, 1), np.uint8)).shape == (5, 7)
    assert {path.name for path in model.parent.iterdir()} == {
        "tiny.onnx",
        "tiny.manifest.json",
        "tiny.golden.npz",
    }


def test_export_equals_the_trained_model(model, run):
    keras.config.set_dtype_policy("float32")
    trained = architectures.build(run.read_config().model)
    trained.load_weights(run.best_weights)
    session = EmotionSession(model, "cpu", threads=1)
    for batch in (1, 2, 64):
        images = np.random.default_rng(batch).integers(0, 256, size=(batch, 48, 48, 1), dtype=np.uint8)
        np.testing.assert_allclose(session.logits(images), trained.predict(images, verbose=0), atol=1e-4)


def test_export_graph_is_convolutions_only_with_a_symbolic_batch(model):
    graph = onnx.load(model).graph
    operations = [node.op_type for node in graph.node]
    first, last = operations.index("Conv"), len(operations) - 1 - operations[::-1].index("Conv")
    assert set(operations[first : last + 1]) == {"Conv", "Relu", "MaxPool"}
    (image,) = graph.input
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert image.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_export_embeds_contract_and_provenance(model):
    embedded = {item.key: json.loads(item.value) for item in onnx.load(model).metadata_props}
    manifest = load_manifest(model)
    assert embedded[CONTRACT_KEY] == manifest.contract.model_dump(mode="json")
    assert embedded[PROVENANCE_KEY] == manifest.provenance.model_dump(mode="json")
    assert manifest.provenance.config["name"] == "tiny"
    assert manifest.metrics["PublicTest"].images == 28


def test_record_keeps_the_metrics_of_other_splits(model, dataset):
    assert set(load_manifest(model).metrics) == {"PublicTest"}
    manifest = record(model, dataset, [Split.PRIVATE_TEST])
    assert set(manifest.metrics) == {"PublicTest", "PrivateTest"}
    manifest = record(model, dataset, [Split.PUBLIC_TEST, Split.PRIVATE_TEST])
    assert set(manifest.metrics) == {"PublicTest", "PrivateTest", BOTH_TESTS}
    assert manifest.metrics[BOTH_TESTS].images == 56
    assert load_manifest(model) == manifest


def test_second_export_increments_the_version(run, dataset, tmp_path):
    path = tmp_path / "tiny.onnx"
    first = export(run, dataset, path).contract.version
    second = export(run, dataset, path).contract.version
    assert int(second.rsplit(".", 1)[1]) == int(first.rsplit(".", 1)[1]) + 1


def test_export_that_differs_from_keras_writes_nothing(run, dataset, tmp_path, monkeypatch):
    def load_with_wrong_bias(*arguments) -> Network:
        network = load_network(*arguments)
        kernel, bias = network.served.get_layer("logits").get_weights()
        network.served.get_layer("logits").set_weights([kernel, bias + 0.001])
        return network

    monkeypatch.setattr(export_module, "load_network", load_with_wrong_bias)
    with pytest.raises(TrainingError, match="ONNX and Keras differ at batch 1"):
        export(run, dataset, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_graph_that_is_not_plain_writes_nothing(run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("training.export.checks.ALLOWED_BETWEEN_CONVOLUTIONS", frozenset({"Conv", "Relu"}))
    with pytest.raises(TrainingError, match="Received: \\['MaxPool'\\]"):
        export(run, dataset, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


def test_export_of_an_unfinished_run_is_refused(dataset, tmp_path):
    unfinished = RunFolder(tmp_path / "run")
    unfinished.open_for(tiny_config())
    with pytest.raises(TrainingError, match="not a finished run"):
        export(unfinished, dataset, tmp_path / "models" / "tiny.onnx")
    assert not (tmp_path / "models").exists()


def test_golden_vectors_contain_no_image_of_the_dataset(model, dataset):
    with np.load(golden_path(model)) as golden:
        crops = {crop.tobytes() for crop in golden["crops"]}
    assert not crops & {image.tobytes() for image in dataset[Split.TRAINING].images}
    assert manifest_path(model).exists()
