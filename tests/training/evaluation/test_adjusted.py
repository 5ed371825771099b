"""Logit adjustment of an exported model."""

from __future__ import annotations

import numpy as np
import pytest

from app.contract.manifest import load_manifest
from tests.support.datasets import tiny_config
from training import cli
from training.evaluation.adjusted import adjust, measure_adjusted
from training.export.export import export
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adjusted")
    train(tiny_config(epochs=1), dataset, RunFolder(folder / "run"))
    export(RunFolder(folder / "run"), dataset, folder / "model.onnx")
    return folder / "model.onnx"


def test_adjustment_raises_rare_labels():
    shares = np.array([0.7, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
    logits = np.array([[2.0, 1.0, 0, 0, 0, 0, 0]], np.float32)
    assert adjust(logits, shares, 0.0).argmax() == 0
    assert adjust(logits, shares, 1.0).argmax() == 1
    # Equal shares change no probability.
    equal = adjust(logits, np.full(7, 1 / 7), 1.0)
    np.testing.assert_allclose(np.diff(equal), np.diff(logits), atol=1e-6)


def test_factor_0_measures_the_model_as_it_is(model, dataset):
    first, *_ = measure_adjusted(model, dataset)
    recorded = load_manifest(model).metrics["PublicTest"]
    assert first.factor == 0
    assert first.metrics.accuracy == recorded.accuracy
    assert first.metrics.ece == pytest.approx(recorded.ece)


def test_command_prints_a_row_for_each_factor(model, dataset, monkeypatch, capsys):
    monkeypatch.setattr("training.cli.models.load_dataset", lambda arguments: dataset)
    monkeypatch.setattr("sys.argv", ["training", "adjusted", str(model)])
    assert cli.main() == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
