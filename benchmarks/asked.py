"""What the service promises of its speed, against what was measured. Every entry is a ratio or a time of one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.figures import Spread, flatness_of, paired, scaling_of
from benchmarks.over_http import MEMORY_FIRST
from benchmarks.servers import BASELINE, SERVICE
from benchmarks.workloads import FACES, PHOTOGRAPHS, PORTRAITS

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Promise:
    """One line of the table.

    Attributes:
        asked: In words, with the limit.
        limit: That the median must reach.
        at_most: Whether less is better.
        values: One for each round, out of the results; raises KeyError where they were not measured.
        unit: Put behind the figure.
    """

    asked: str
    limit: float
    at_most: bool
    values: Callable[[Results], list[float]]
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a promise; `spread` is None where it was not measured."""

    promise: Promise
    spread: Spread | None

    @property
    def met(self) -> bool | None:
        if self.spread is None:
            return None
        value, limit = self.spread.median, self.promise.limit
        return value <= limit if self.promise.at_most else value >= limit


def judge(results: Results) -> list[Verdict]:
    """All promises, in order."""
    verdicts = []
    for promise in PROMISES:
        try:
            spread = Spread.of(promise.values(results))
        except KeyError:
            spread = None
        verdicts.append(Verdict(promise, spread))
    return verdicts


def _cpu_over_in_process(workload: str) -> Callable[[Results], list[float]]:
    def values(results: Results) -> list[float]:
        closed = results["closed"]
        served, bare = closed[SERVICE][workload]["16"], closed["in_process"][workload]["16"]
        return paired(served, bare, lambda one, other: one["cpu_ms"] / other["cpu_ms"])

    return values


def _over_baseline(workload: str, figure: str) -> Callable[[Results], list[float]]:
    def values(results: Results) -> list[float]:
        closed = results["closed"]
        served, baseline = closed[SERVICE][workload]["16"], closed[BASELINE][workload]["16"]
        return paired(served, baseline, lambda one, other: one[figure] / other[figure])

    return values


def _over_photographs(stage: str) -> Callable[[Results], list[float]]:
    """The median photograph of each round."""

    def values(results: Results) -> list[float]:
        rounds = np.array([file[stage] for file in results["stages"]["files"][PHOTOGRAPHS]])
        return [float(value) for value in np.median(rounds, axis=0)]

    return values


def _added_ms(results: Results) -> list[float]:
    closed = results["closed"]
    served, bare = closed[SERVICE][PORTRAITS]["1"], closed["in_process"][PORTRAITS]["1"]
    return paired(served, bare, lambda one, other: one["p50_ms"] - other["p50_ms"])


def _many_over_sixteen(results: Results) -> list[float]:
    """Of the workload whose median is least. The least of each round would be the noise of six figures, not a ratio."""
    served = results["closed"][SERVICE].values()
    ratios = [
        paired(windows["128"], windows["16"], lambda one, other: one["per_s"] / other["per_s"]) for windows in served
    ]
    return min(ratios, key=statistics.median)


def _all_windows(results: Results, clients: str, figure: str) -> list[list[float]]:
    """By workload, one value a round."""
    return [[window[figure] for window in windows[clients]] for windows in results["closed"][SERVICE].values()]


def _errors(results: Results) -> list[float]:
    return [sum(of_round) for of_round in zip(*_all_windows(results, "128", "errors"), strict=True)]


def _health_ms(results: Results) -> list[float]:
    return [max(of_round) for of_round in zip(*_all_windows(results, "128", "health_max_ms"), strict=True)]


def _missed(results: Results) -> list[float]:
    """Faces that the baseline finds and the service does not, and false boxes that only the service has."""
    service, baseline = results["detection"][SERVICE], results["detection"][BASELINE]
    return [float(max(0, baseline["found"] - service["found"]) + max(0, service["false"] - baseline["false"]))]


def _scaling(results: Results) -> list[float]:
    return paired(results["scaling"]["1"], results["scaling"]["2"], scaling_of)


def _resident_mb(results: Results) -> list[float]:
    """Of the first round: later ones come after pictures of 12 megapixels, whose memory is not all given back."""
    served = results["closed"][SERVICE]
    return [max(served[workload]["16"][0]["rss_mb"] for workload in (PORTRAITS, PHOTOGRAPHS))]


def _drift(results: Results) -> list[float]:
    return [100 * flatness_of(results["memory"], MEMORY_FIRST)]


PROMISES: tuple[Promise, ...] = (
    Promise(
        "CPU of a portrait, 16 clients, over the bare pipeline's: at most 1.1",
        1.1,
        True,
        _cpu_over_in_process(PORTRAITS),
    ),
    Promise("the same of a pre-cropped face: at most 1.4", 1.4, True, _cpu_over_in_process(FACES)),
    Promise(
        "photographs a second, 16 clients, over the baseline's: at least 15",
        15,
        False,
        _over_baseline(PHOTOGRAPHS, "per_s"),
    ),
    Promise(
        "portraits a second, 16 clients, over the baseline's: at least 5", 5, False, _over_baseline(PORTRAITS, "per_s")
    ),
    Promise("faces missed or false boxes made beyond the baseline's: none", 0, True, _missed),
    Promise(
        "99th percentile of a photograph's latency, 16 clients, over the baseline's: at most 0.1",
        0.1,
        True,
        _over_baseline(PHOTOGRAPHS, "p99_ms"),
    ),
    Promise(
        "the same of a portrait: at most 0.1",
        0.1,
        True,
        _over_baseline(PORTRAITS, "p99_ms"),
    ),
    Promise(
        "a photograph's bytes to its scores, one thread, median: at most 40 ms",
        40,
        True,
        _over_photographs("whole_ms"),
        " ms",
    ),
    Promise(
        "detection in a photograph, one thread, median: at most 12 ms", 12, True, _over_photographs("detect_ms"), " ms"
    ),
    Promise(
        "latency that the service adds to the bare pipeline's, one client, portrait: at most 1.5 ms",
        1.5,
        True,
        _added_ms,
        " ms",
    ),
    Promise("errors with 128 clients, all workloads: none", 0, True, _errors),
    Promise(
        "throughput of 128 clients over that of 16, the workload where it is least: at least 1",
        1.0,
        False,
        _many_over_sixteen,
    ),
    Promise("slowest `/healthz` under 128 clients, all workloads: below 50 ms", 50, True, _health_ms, " ms"),
    Promise("throughput of two cores over one: at least 1.8", 1.8, False, _scaling),
    Promise(
        "resident memory of a warm service, 16 clients, portraits and photographs: at most 350 MB",
        350,
        True,
        _resident_mb,
        " MB",
    ),
    Promise(
        "resident memory between the 1,000th and the last request, furthest from the 1,000th: at most 3 %",
        3,
        True,
        _drift,
        " %",
    ),
)
