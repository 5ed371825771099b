"""Summary statistics of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.measurement import Measurement
from benchmarks.summary import Spread, core_scaling, memory_drift, significant, summarize


def test_spread_has_median_smallest_and_largest_value():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([3.0, 1.0, 2.0]).text() == "2.00 (1.00 to 3.00)"
    assert Spread.of([2.0]).text() == "2.00"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123456, "0.0123"), (1.5, "1.50"), (12.34, "12.3"), (1234.5, "1234"), (0, "0")]
)
def test_significant_keeps_three_digits_without_an_exponent(value, text):
    assert significant(value) == text


def test_core_scaling_subtracts_the_share_of_the_load_generator():
    assert core_scaling({"per_s": 10.0}, {"per_s": 18.0, "generator_cores": 0.2}) == pytest.approx(2.0)


def test_memory_drift_counts_both_directions_after_the_first_thousand_requests():
    samples = [(500, 150.0), (1000, 200.0), (2000, 203.0), (3000, 192.0)]
    counted = [{"requests": requests, "rss_mb": rss} for requests, rss in samples]
    assert memory_drift(counted, 1000) == pytest.approx(0.04)


def test_window_has_cpu_time_per_request_and_separate_errors():
    measurement = Measurement(
        seconds=2.0,
        latencies_s=[0.01] * 9 + [0.1],
        statuses={"200": 8, "503": 1, "0": 1},
        server_cpu_s=3.0,
        server_loop_cpu_s=0.5,
        generator_cpu_s=0.2,
        rss_kb=100_000,
    )
    window = summarize(measurement)
    assert (window["errors"], window["per_s"]) == (2, 4.0)
    assert (window["cpu_ms"], window["loop_cpu_ms"]) == (pytest.approx(300.0), pytest.approx(50.0))
    assert (window["server_cores"], window["generator_cores"]) == (1.5, 0.1)
    assert window["max_ms"] == pytest.approx(100.0)
