"""The precision of a run: bfloat16 only where the hardware has it, and never changed when a run is resumed."""

from __future__ import annotations

import json

import pytest

import training.fit.train as train_module
from tests.support.datasets import tiny_config
from training.fit.backend import prepare_backend
from training.fit.precision import Bfloat16Support, bfloat16_of_cpu, choose_precision
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")

NATIVE = Bfloat16Support(True, "the CPU has AVX512-BF16")
NONE = Bfloat16Support(False, "the CPU has no bfloat16 arithmetic")


@pytest.mark.parametrize(
    ("features", "onednn", "available", "reason"),
    [
        ({"avx2", "avx512_f", "avx512_bf16"}, True, True, "AVX512-BF16"),
        ({"avx2", "amx_bf16", "avx512_bf16"}, True, True, "AMX-BF16"),
        ({"neon", "bf16"}, True, True, "Arm BF16"),
        ({"avx2"}, True, False, "no bfloat16 arithmetic"),
        ({"avx2", "avx512_f"}, True, False, "no bfloat16 arithmetic"),
        ({"neon"}, False, False, "no bfloat16 arithmetic"),
        ({"avx512_bf16"}, False, False, "oneDNN does not use it"),  # ONEDNN_MAX_CPU_ISA=AVX2; builds without oneDNN
    ],
)
def test_bfloat16_of_cpu_needs_the_instructions_and_onednn(features, onednn, available, reason):
    support = bfloat16_of_cpu(dict.fromkeys(features, True) | {"avx10_1": False}, onednn=onednn)
    assert support.available is available
    assert reason in support.reason


@pytest.mark.parametrize(
    ("requested", "begun_with", "support", "policy", "reason"),
    [
        ("auto", None, NATIVE, "mixed_bfloat16", "the CPU has AVX512-BF16"),
        ("auto", None, NONE, "float32", "the CPU has no bfloat16 arithmetic"),
        ("float32", None, NATIVE, "float32", "the config requests it"),
        ("mixed_bfloat16", None, NATIVE, "mixed_bfloat16", "the config requests it"),
        ("mixed_bfloat16", None, NONE, "float32", "the config requests mixed_bfloat16, but the CPU has no"),
        ("auto", "float32", NATIVE, "float32", "the run began with it"),
        ("auto", "mixed_bfloat16", NATIVE, "mixed_bfloat16", "the run began with it"),
        ("auto", "mixed_bfloat16", NONE, "float32", "the run began with mixed_bfloat16, but the CPU has no"),
        ("mixed_bfloat16", "float32", NATIVE, "float32", "the run began with it"),
    ],
)
def test_choose_precision_follows_the_run_then_the_config_then_the_hardware(
    requested, begun_with, support, policy, reason
):
    chosen, why = choose_precision(requested, begun_with, support)
    assert chosen == policy
    assert why.startswith(reason)


def train_on(support: Bfloat16Support, monkeypatch, dataset, run: RunFolder, precision: str) -> str:
    """Train one more epoch on hardware with this support; return the chosen policy. The test itself uses float32."""
    chosen = []

    def prepare(policy: str, seed: int) -> None:
        chosen.append(policy)
        prepare_backend("float32", seed)

    monkeypatch.setattr(train_module, "prepare_backend", prepare)
    monkeypatch.setattr(train_module, "detect_bfloat16", lambda: support)
    train(tiny_config(epochs=4, precision=precision), dataset, run, stop_after_epochs=1)
    return chosen[0]


def recorded(run: RunFolder) -> str:
    return json.loads(run.provenance.read_text())["precision"]


def test_train_without_bfloat16_says_so_trains_in_float32_and_records_it(dataset, tmp_path, monkeypatch, capsys):
    run = RunFolder(tmp_path)
    assert train_on(NONE, monkeypatch, dataset, run, "mixed_bfloat16") == "float32"
    lines = capsys.readouterr().out.splitlines()
    expected = "Precision: float32 (the config requests mixed_bfloat16, but the CPU has no bfloat16 arithmetic)"
    assert [line for line in lines if line.startswith("Precision")] == [expected]
    assert recorded(run) == "float32"
    assert run.read_config().precision == "mixed_bfloat16"


def test_train_resumed_keeps_the_precision_that_the_run_began_with(dataset, tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    assert train_on(NONE, monkeypatch, dataset, run, "auto") == "float32"
    assert train_on(NATIVE, monkeypatch, dataset, run, "auto") == "float32"
    assert recorded(run) == "float32"


def test_train_resumed_on_hardware_without_bfloat16_records_both_precisions(dataset, tmp_path, monkeypatch, capsys):
    run = RunFolder(tmp_path)
    assert train_on(NATIVE, monkeypatch, dataset, run, "auto") == "mixed_bfloat16"
    for support in (NONE, NATIVE):
        assert train_on(support, monkeypatch, dataset, run, "auto") == "float32"
    assert recorded(run) == "mixed_bfloat16, float32"
    assert "the run began with mixed_bfloat16, but" in capsys.readouterr().out


def test_train_resumes_a_run_whose_config_requested_a_precision(dataset, tmp_path, monkeypatch):
    """Runs of version 1 name a precision and record none; the shipped configs now say `auto`."""
    run = RunFolder(tmp_path)
    train_on(NATIVE, monkeypatch, dataset, run, "float32")
    provenance = json.loads(run.provenance.read_text())
    del provenance["precision"]
    run.provenance.write_text(json.dumps(provenance))
    assert train_on(NATIVE, monkeypatch, dataset, run, "auto") == "float32"
    assert run.read_config().precision == "float32"
    assert run.epochs_done() == 2
