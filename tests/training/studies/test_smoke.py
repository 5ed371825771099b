"""Smoke test of one architecture, with subprocesses."""

from __future__ import annotations

import sys

import pytest

from training import cli
from training.data.splits import Split
from training.evaluation.cost import latency_ms
from training.studies.smoke import generated_dataset
from training.studies.subprocess_pool import call_in_subprocesses


@pytest.mark.slow
def test_smoke_trains_exports_and_measures_an_architecture(monkeypatch, capsys):
    monkeypatch.setattr("training.studies.smoke.ARCHITECTURES", ("cnn_basic",))
    monkeypatch.setattr("training.studies.compare.call_in_subprocesses", call_in_subprocesses)
    monkeypatch.setattr("training.studies.latency.latency_ms", latency_ms)
    monkeypatch.setattr(sys, "argv", ["training", "compare", "--smoke"])
    assert cli.main() == 0
    assert "smoke_cnn_basic: " in (printed := capsys.readouterr().out)
    assert "All 1 architectures passed" in printed


def test_generated_dataset_has_all_labels_in_all_splits():
    dataset = generated_dataset()
    for split in Split:
        assert min(dataset[split].counts()) == 10
