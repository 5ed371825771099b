"""Goodput under overload, and its floor by kind of machine."""

from __future__ import annotations

import pytest

from benchmarks.machine import CpuKind
from stress import overload
from stress.client import Answer
from stress.goodput import GOODPUT_FLOORS, Overload, Peak
from stress.workloads import PHOTOGRAPHS, PORTRAITS


def make_overload(goodput_per_s: int, peak_per_s: float = 100.0) -> Overload:
    """Return one second of overload at ten times the peak."""
    offered = round(10 * peak_per_s)
    answers = [
        Answer(200 if index < goodput_per_s else 503, 0.0, index / offered, {"retry-after": "1"})
        for index in range(offered)
    ]
    return Overload(Peak(peak_per_s, cpu_ms=8.0), 1.0, answers, cpu_s=1.0)


def test_goodput_counts_only_answers_within_the_overload():
    answers = [Answer(200, 0.1, 0.0), Answer(200, 0.9, 0.05), Answer(200, 0.9, 0.5), Answer(503, 0.0, 1.0)]
    measured = Overload(Peak(3.0, 100.0), 1.0, answers, 0.5)
    assert measured.goodput_per_s == 2
    assert measured.offered_per_s == 4
    assert measured.admitted_s == [0.1, 0.9, 0.9]
    assert len(measured.refusals) == 1


def test_cpu_time_of_a_refusal_is_what_admitted_requests_leave():
    measured = make_overload(80)
    assert measured.refusal_cpu_ms == pytest.approx((1000 - 80 * 8) / 920)
    assert measured.figures()["answer_cpu_share"] == pytest.approx(0.64)


@pytest.mark.parametrize(
    ("kind", "name", "goodput_per_s", "met"),
    [
        (CpuKind.AVX2, PORTRAITS, 73, True),
        (CpuKind.AVX2, PORTRAITS, 72, False),
        (CpuKind.AVX2, PHOTOGRAPHS, 76, False),
        (CpuKind.AVX512, PORTRAITS, 79, False),
        (CpuKind.AVX512, PHOTOGRAPHS, 80, True),
    ],
)
def test_goodput_is_compared_with_the_floor_of_the_machine(monkeypatch, kind, name, goodput_per_s, met):
    monkeypatch.setattr(overload, "cpu_kind", lambda: kind)
    check = overload.check_goodput(name, make_overload(goodput_per_s))
    assert (not check.violations) is met
    assert f"floor of a machine with {kind}: {GOODPUT_FLOORS[kind][name]:.0%}" in check.observed


def test_every_kind_of_machine_has_a_floor_for_every_workload():
    assert {kind: set(floors) for kind, floors in GOODPUT_FLOORS.items()} == {
        kind: {PORTRAITS, PHOTOGRAPHS} for kind in CpuKind
    }
