"""Exports in float16 and int8: smaller, nearly as accurate, and refused if they are not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import training.export.export as export_module
from app.contract.manifest import load_manifest
from app.inference.session import EmotionSession
from training.data.splits import Split
from training.errors import TrainingError
from training.export.export import export
from training.export.quantize import convert


@pytest.fixture(scope="module")
def models(run, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for precision in ("float32", "float16", "int8"):
        export(run, dataset, folder / f"tiny_{precision}.onnx", precision=precision)
    return folder


@pytest.mark.parametrize(
    ("precision", "kind"), [("float16", onnx.TensorProto.FLOAT16), ("int8", onnx.TensorProto.INT8)]
)
def test_export_stores_its_weights_in_fewer_bits(models, precision, kind):
    weights = [
        array for array in onnx.load(models / f"tiny_{precision}.onnx").graph.initializer if len(array.dims) == 4
    ]
    assert weights
    assert {array.data_type for array in weights} == {kind}
    assert load_manifest(models / f"tiny_{precision}.onnx").contract.precision == precision


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_export_in_fewer_bits_predicts_nearly_the_same(models, dataset, precision):
    crops = dataset[Split.PUBLIC_TEST].images
    full = EmotionSession(models / "tiny_float32.onnx", "cpu", threads=1).logits(crops)
    session = EmotionSession(models / f"tiny_{precision}.onnx", "cpu", threads=1)
    session.self_test()
    logits = session.logits(crops)
    difference = np.abs(logits - full).max()
    assert 0 < difference < 0.1 * np.ptp(full)
    single = np.concatenate([session.logits(crop[np.newaxis]) for crop in crops])
    np.testing.assert_allclose(logits, single, atol=1e-5)


def test_int8_weights_have_seven_bits(models, dataset):
    graph = convert(onnx.load(models / "tiny_float32.onnx"), "int8", dataset[Split.TRAINING].images)
    weights = [onnx.numpy_helper.to_array(array) for array in graph.graph.initializer if len(array.dims) == 4]
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) in (63, 64)


def test_export_that_loses_accuracy_writes_nothing(run, dataset, tmp_path, monkeypatch):
    def convert_without_weights(graph, precision, images):
        converted = convert(graph, precision, images)
        for array in converted.graph.initializer:
            if len(array.dims) == 4:
                array.raw_data = bytes(len(array.raw_data))
        return converted

    monkeypatch.setattr(export_module, "convert", convert_without_weights)
    with pytest.raises(TrainingError, match="int8 lowers the accuracy on PublicTest"):
        export(run, dataset, tmp_path / "tiny.onnx", precision="int8")
    assert list(tmp_path.iterdir()) == []
