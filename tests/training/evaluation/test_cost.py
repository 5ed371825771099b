"""Number of operations and latency of a network."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import keras
import pytest

import training.evaluation.cost as cost_module
from training.architectures import Form, build
from training.config import ModelConfig
from training.evaluation.cost import latency_ms, mflops


def test_mflops_count_a_multiply_add_as_two_operations():
    keras.config.set_dtype_policy("float32")
    config = ModelConfig(architecture="vgg", widths=(4, 8), convolutions_per_stage=1)
    multiply_adds = 48 * 48 * 9 * 1 * 4 + 24 * 24 * 9 * 4 * 8 + 8 * 7
    assert mflops(build(config, Form.SERVED)) == pytest.approx(2 * multiply_adds / 1e6)


def test_latency_is_the_median_per_face_without_the_warm_up(monkeypatch):
    durations = [100.0] * 20 + [0.002, 0.004, 0.003, 0.9] * 25  # warm-up runs, then measured runs
    times = itertools.chain.from_iterable((0.0, duration) for duration in durations)
    shapes = set()
    session = SimpleNamespace(run=lambda names, inputs: shapes.add(inputs["image"].shape))
    monkeypatch.setattr(cost_module, "open_session", lambda path, device, threads: session)
    monkeypatch.setattr(cost_module, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    assert latency_ms("model.onnx", batch=2) == pytest.approx(3.5 / 2)
    assert shapes == {(2, 48, 48, 1)}
