"""Exports in fewer bits: smaller, nearly as good, and refused where they are not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import training.export.pipeline as export_module
from app.contract.manifest import load_manifest
from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from training.data.fer2013 import Split
from training.errors import TrainingError
from training.evaluation.evaluate import record
from training.export.card import forms_of, model_card, write_card
from training.export.pipeline import export
from training.export.quantize import convert
from training.fit.run_folder import RunFolder
from training.fit.train import train


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("precision") / "run")
    train(tiny_config(), dataset, folder)
    return folder


@pytest.fixture(scope="module")
def models(run, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for precision in ("float32", "float16", "int8"):
        export(run, dataset, folder / f"tiny_{precision}.onnx", precision=precision)
    return folder


@pytest.mark.parametrize(
    ("precision", "kind"), [("float16", onnx.TensorProto.FLOAT16), ("int8", onnx.TensorProto.INT8)]
)
def test_export_holds_its_weights_in_fewer_bits(models, precision, kind):
    weights = [
        array for array in onnx.load(models / f"tiny_{precision}.onnx").graph.initializer if len(array.dims) == 4
    ]
    assert weights
    assert {array.data_type for array in weights} == {kind}
    assert load_manifest(models / f"tiny_{precision}.onnx").contract.precision == precision


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_export_in_fewer_bits_answers_nearly_the_same_and_serves(models, dataset, precision):
    crops = dataset[Split.PUBLIC_TEST].images
    full = EmotionSession(models / "tiny_float32.onnx", "cpu", threads=1).logits(crops)
    session = EmotionSession(models / f"tiny_{precision}.onnx", "cpu", threads=1)
    session.self_test()
    logits = session.logits(crops)
    difference = np.abs(logits - full).max()
    assert 0 < difference < 0.1 * np.ptp(full)
    alone = np.concatenate([session.logits(crop[np.newaxis]) for crop in crops])
    np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_convert_to_int8_keeps_weights_within_seven_bits(models, dataset):
    graph = convert(onnx.load(models / "tiny_float32.onnx"), "int8", dataset[Split.TRAINING].images)
    weights = [onnx.numpy_helper.to_array(array) for array in graph.graph.initializer if len(array.dims) == 4]
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) in (63, 64)


def test_export_that_loses_accuracy_with_its_bits_is_refused(run, dataset, tmp_path, monkeypatch):
    def spoiled(graph, precision, images):
        converted = convert(graph, precision, images)
        for array in converted.graph.initializer:
            if len(array.dims) == 4:
                array.raw_data = bytes(len(array.raw_data))
        return converted

    monkeypatch.setattr(export_module, "convert", spoiled)
    with pytest.raises(TrainingError, match="fewer bits cost"):
        export(run, dataset, tmp_path / "tiny.onnx", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_card_compares_the_files_of_one_network(models, dataset):
    for path in models.glob("*.onnx"):
        record(path, dataset, [Split.PUBLIC_TEST, Split.PRIVATE_TEST], timed=True)
    forms = forms_of(models / "tiny_int8.onnx")
    assert [form.manifest.contract.precision for form in forms] == ["float16", "float32", "int8"]
    card = model_card(load_manifest(models / "tiny_int8.onnx"), forms)
    for form in forms:
        figures = form.manifest
        row = next(line for line in card.splitlines() if line.startswith(f"| `{figures.contract.name}.onnx`"))
        assert f"{figures.metrics['PrivateTest'].accuracy:.2%}" in row
        assert f"{figures.latency.ms_by_batch[1]:.2f} ms" in row
        assert f"{form.size_bytes / 1e6:.1f} MB" in row
        assert f"--to models/{figures.contract.name}.onnx --precision {figures.contract.precision}" in card
    write_card(models / "tiny_int8.onnx", models / "card.md")
    assert (models / "card.md").read_text() == card
    assert "(tiny_int8.reliability.png)" in card
    assert (models / "tiny_int8.reliability.png").read_bytes().startswith(b"\x89PNG")
    assert "The same network in other files" not in model_card(load_manifest(models / "tiny_int8.onnx"))


def test_forms_of_another_training_are_not_of_this_network(run, models, dataset, tmp_path):
    export(run, dataset, tmp_path / "one.onnx")
    other = RunFolder(tmp_path / "other-run")
    train(tiny_config(seed=9), dataset, other)
    export(other, dataset, tmp_path / "two.onnx")
    assert [form.manifest.contract.name for form in forms_of(tmp_path / "one.onnx")] == ["one"]
