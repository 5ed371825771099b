"""Export: what is written is what was trained, and nothing is written that is not."""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import onnx
import pytest

import training.export.pipeline as export_module
from app.contract.manifest import CONTRACT_KEY, PROVENANCE_KEY, golden_path, load_manifest, manifest_path
from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from training.data.fer2013 import Split
from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS, record
from training.export.card import model_card
from training.export.pipeline import export
from training.fit.run_folder import RunFolder
from training.fit.train import train


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("export") / "run")
    train(tiny_config(), dataset, folder)
    return folder


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


def test_export_equals_the_trained_model(model, run, dataset):
    import keras

    from training import architectures

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


def test_evaluate_records_more_splits_beside_those_there(model, dataset):
    manifest = record(model, dataset, [Split.PUBLIC_TEST, Split.PRIVATE_TEST])
    assert set(manifest.metrics) == {"PublicTest", "PrivateTest", BOTH_TESTS}
    assert manifest.metrics[BOTH_TESTS].images == 56
    assert load_manifest(model) == manifest


def test_card_has_the_figures_of_the_manifest(model, dataset):
    manifest = record(model, dataset, [Split.PRIVATE_TEST])
    card = model_card(manifest)
    assert f"**{manifest.metrics['PrivateTest'].accuracy:.2%}**" in card
    assert manifest.sha256 in card
    assert "{" not in card
    with pytest.raises(TrainingError, match="PrivateTest"):
        model_card(manifest.model_copy(update={"metrics": {}}))


def test_export_again_goes_on_counting_versions(run, dataset, tmp_path):
    path = tmp_path / "tiny.onnx"
    first = export(run, dataset, path).contract.version
    second = export(run, dataset, path).contract.version
    assert int(second.rsplit(".", 1)[1]) == int(first.rsplit(".", 1)[1]) + 1


def test_export_that_differs_from_keras_writes_nothing(run, dataset, tmp_path, monkeypatch):
    original = export_module.fold

    def spoiled(*arguments):
        served = original(*arguments)
        kernel, bias = served.get_layer("logits").get_weights()
        served.get_layer("logits").set_weights([kernel, bias + 0.001])
        return served

    monkeypatch.setattr(export_module, "fold", spoiled)
    with pytest.raises(TrainingError, match="ONNX and Keras differ at batch 1"):
        export(run, dataset, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("difference", "accepted"), [(0.003, True), (0.009, False)])
def test_parity_of_logits_of_hundreds_allows_for_rounding(difference, accepted, monkeypatch):
    class Trained:
        def predict(self, images, **options):
            return np.full((len(images), 7), 500, np.float32)

    class Session:
        def run(self, names, inputs):
            return [np.full((len(inputs["image"]), 7), 500 + difference, np.float32)]

    monkeypatch.setattr(export_module, "_session", lambda graph: Session())
    with nullcontext() if accepted else pytest.raises(TrainingError, match=r"differ at batch 1: 500\.009 and 500 "):
        export_module._check_parity(None, Trained(), np.zeros((64, 48, 48, 1), np.uint8))


def test_export_unfolded_normalisation_is_refused(run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_ALLOWED_BETWEEN_CONVOLUTIONS", frozenset({"Conv", "Relu"}))
    with pytest.raises(TrainingError, match="MaxPool"):
        export(run, dataset, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


def test_export_unfinished_run_is_refused(dataset, tmp_path):
    unfinished = RunFolder(tmp_path / "run")
    train(tiny_config(), dataset, unfinished, stop_after_epochs=1)
    with pytest.raises(TrainingError, match="not finished"):
        export(unfinished, dataset, tmp_path / "models" / "tiny.onnx")


def test_golden_vectors_hold_no_single_image_of_the_dataset(model, dataset):
    with np.load(golden_path(model)) as golden:
        crops = {crop.tobytes() for crop in golden["crops"]}
    assert not crops & {image.tobytes() for image in dataset[Split.TRAINING].images}
    assert manifest_path(model).exists()
