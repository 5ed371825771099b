"""The performance targets."""

from __future__ import annotations

import pytest

from benchmarks.targets import TARGETS, evaluate
from tests.unit.benchmarks.results import WINDOW, make_results


def verdicts(**changes) -> dict[str, bool | None]:
    return {verdict.target.title: verdict.met for verdict in evaluate(make_results(**changes))}


def only(met: dict[str, bool | None], beginning: str) -> bool | None:
    (verdict,) = [verdict for title, verdict in met.items() if title.startswith(beginning)]
    return verdict


def test_each_target_has_its_own_limit():
    met = verdicts()
    assert only(met, "CPU time of a portrait") is True  # 22 / 20
    assert only(met, "portraits per second") is True  # 40 / 4
    assert only(met, "photographs per second") is False  # 10, and the target is 15
    assert only(met, "99th percentile of the latency of photographs") is True  # 50 / 1000
    assert only(met, "median latency of a portrait") is True  # 20 - 19
    assert only(met, "missed faces") is True
    assert only(met, "throughput on two cores") is True  # 40 / 1.9 * 2 / 21
    assert len(met) == len(TARGETS)


def test_one_error_one_slow_health_probe_or_one_false_box_misses_a_target():
    slow = {clients: [WINDOW | {"errors": 1, "health_max_ms": 51.0}] * 2 for clients in ("1", "16", "128")}
    detection = {"service": {"found": 29, "false": 4}, "baseline": {"found": 28, "false": 3}}
    closed = make_results()["closed"] | {"service": {"portraits": slow}}
    met = verdicts(closed=closed, detection=detection)
    assert only(met, "errors with 128 clients") is False
    assert only(met, "slowest `/healthz`") is False
    assert only(met, "missed faces") is False


def test_throughput_of_128_clients_uses_the_rounds_of_one_workload():
    def windows(*ratios):
        many = [WINDOW | {"per_s": ratio * WINDOW["per_s"]} for ratio in ratios]
        return {"1": [WINDOW] * 3, "16": [WINDOW] * 3, "128": many}

    service = {
        "portraits": windows(0.9, 1.0, 1.3),
        "photographs": windows(1.3, 0.9, 1.1),
        "faces": windows(1, 2, 3),
    }
    (target,) = [target for target in TARGETS if "128 clients divided" in target.title]
    results = make_results(closed=make_results()["closed"] | {"service": service})
    assert target.values(results) == pytest.approx([0.9, 1.0, 1.3])


def test_target_without_a_measurement_has_no_verdict():
    met = verdicts(scaling=None, memory=None)
    assert only(met, "throughput on two cores") is None
    assert only(met, "largest change of the resident memory") is None
