"""One network in several runtimes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.labelled import class_files, write_files
from tests.support.paths import REPOSITORY
from training.cli import main
from training.evaluation import runtimes
from training.evaluation.runtimes import as_table, compare_runtimes

MODEL = REPOSITORY / "models/fer_vgg.onnx"


def test_rows_have_accuracy_and_equal_predictions():
    """Two runtimes as fakes. The second predicts another label than the first for one image in four."""
    images = np.random.default_rng(1).integers(0, 256, (40, 48, 48, 1), np.uint8)
    labels = images[:, 0, 0, 0].astype(np.int64) % 7

    def answer(batch, every: int):
        codes = batch[:, 0, 0, 0].astype(np.int64) % 7
        codes[::every] = (codes[::every] + 1) % 7
        return np.eye(7, dtype=np.float32)[codes]

    networks = {"first": lambda batch: answer(batch, 41), "second": lambda batch: answer(batch, 4)}
    first, second = compare_runtimes(networks, images, labels)
    assert (first.accuracy, first.equal) == (39 / 40, 1)
    assert (second.accuracy, second.equal) == (30 / 40, 31 / 40)
    assert 0 < second.ms < 100
    assert f"| fer.onnx | second | 75.00% | 59.81% to 85.81% | 77.50% | {second.ms:.2f} |" in as_table(
        {"fer.onnx": (first, second)}
    )


def test_missing_openvino_is_named_with_the_command(monkeypatch, capsys):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["training", "runtimes", str(MODEL), "--split", "PublicTest"])
    assert main() == 2
    assert "expected the package openvino. Received: it is not installed" in capsys.readouterr().err


def test_command_compares_onnx_runtime_and_openvino(tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino", reason="OpenVINO: see requirements/openvino.txt")
    folder = write_files(tmp_path, class_files(["happy", "sad"], 30))
    monkeypatch.setattr("sys.argv", ["training", "runtimes", str(MODEL), "--data", str(folder), "--split", "all"])
    assert main() == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| fer_vgg.onnx")]
    assert [row[1].partition(" 2")[0].split(" 1.")[0] for row in rows][:2] == ["ONNX Runtime", "OpenVINO"]
    assert all(float(row[4].rstrip("%")) > 95 for row in rows)
