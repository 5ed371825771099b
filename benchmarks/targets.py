"""Performance targets of the service, compared with the results of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.over_http import IN_PROCESS, MEMORY_FIRST
from benchmarks.servers import BASELINE, SERVICE
from benchmarks.summary import Spread, core_scaling, memory_drift, per_round
from benchmarks.workloads import FACES, PHOTOGRAPHS, PORTRAITS

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """A limit for the median over all rounds.

    Attributes:
        title: What is limited, for the table.
        limit: The limit.
        values: Returns one value per round. Raises KeyError if the run did not measure them.
        at_least: Whether the limit is a minimum; otherwise it is a maximum.
        unit: Unit after the figures.
    """

    title: str
    limit: float
    values: Callable[[Results], list[float]]
    at_least: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """Result of a target. `spread` is None if the run did not measure it."""

    target: Target
    spread: Spread | None

    @property
    def met(self) -> bool | None:
        """Whether the median meets the limit; None if the run did not measure it."""
        if self.spread is None:
            return None
        value, limit = self.spread.median, self.target.limit
        return value >= limit if self.target.at_least else value <= limit


def evaluate(results: Results) -> list[Verdict]:
    """Return the verdict on every target."""
    verdicts = []
    for target in TARGETS:
        try:
            spread = Spread.of(target.values(results))
        except KeyError:
            spread = None
        verdicts.append(Verdict(target, spread))
    return verdicts


def _ratio_to(kind: str, workload: str, figure: str) -> Callable[[Results], list[float]]:
    """Return a function that divides a figure of the service by that of the baseline or of the pipeline, 16 clients."""

    def values(results: Results) -> list[float]:
        closed = results["closed"]
        service, other = closed[SERVICE][workload]["16"], closed[kind][workload]["16"]
        return per_round(service, other, lambda one, two: one[figure] / two[figure])

    return values


def _median_photograph(stage: str) -> Callable[[Results], list[float]]:
    """Return a function that gives the time of the median photograph in a stage."""

    def values(results: Results) -> list[float]:
        rounds = np.array([file[stage] for file in results["stages"]["files"][PHOTOGRAPHS]])
        return [float(value) for value in np.median(rounds, axis=0)]

    return values


def _added_latency_ms(results: Results) -> list[float]:
    closed = results["closed"]
    service, pipeline = closed[SERVICE][PORTRAITS]["1"], closed[IN_PROCESS][PORTRAITS]["1"]
    return per_round(service, pipeline, lambda one, two: one["p50_ms"] - two["p50_ms"])


def _throughput_of_128_clients(results: Results) -> list[float]:
    """Return the ratios of the workload with the smallest median.

    The smallest ratio of each round would be the noise of six workloads, not a ratio.
    """
    ratios = [
        per_round(by_clients["128"], by_clients["16"], lambda one, two: one["per_s"] / two["per_s"])
        for by_clients in results["closed"][SERVICE].values()
    ]
    return min(ratios, key=statistics.median)


def _of_128_clients(results: Results, figure: str) -> list[tuple[float, ...]]:
    """Return one tuple per round with the figure of every workload."""
    windows = [by_clients["128"] for by_clients in results["closed"][SERVICE].values()]
    return [tuple(window[figure] for window in of_round) for of_round in zip(*windows, strict=True)]


def _errors(results: Results) -> list[float]:
    return [sum(errors) for errors in _of_128_clients(results, "errors")]


def _slowest_health_ms(results: Results) -> list[float]:
    return [max(slowest) for slowest in _of_128_clients(results, "health_max_ms")]


def _worse_detections(results: Results) -> list[float]:
    """Count the faces that the service misses and the false boxes that it adds, compared with the baseline."""
    service, baseline = results["detection"][SERVICE], results["detection"][BASELINE]
    return [float(max(0, baseline["found"] - service["found"]) + max(0, service["false"] - baseline["false"]))]


def _core_scaling(results: Results) -> list[float]:
    return per_round(results["scaling"]["1"], results["scaling"]["2"], core_scaling)


def _resident_mb(results: Results) -> list[float]:
    """Return the memory of the first round. Photographs of 12 megapixels raise the memory of the later rounds."""
    service = results["closed"][SERVICE]
    return [max(service[workload]["16"][0]["rss_mb"] for workload in (PORTRAITS, PHOTOGRAPHS))]


def _memory_drift_percent(results: Results) -> list[float]:
    return [100 * memory_drift(results["memory"], MEMORY_FIRST)]


TARGETS: tuple[Target, ...] = (
    Target(
        "CPU time of a portrait, 16 clients: at most 1.1 times that of the pipeline without HTTP",
        1.1,
        _ratio_to(IN_PROCESS, PORTRAITS, "cpu_ms"),
    ),
    Target("the same for a pre-cropped face: at most 1.4 times", 1.4, _ratio_to(IN_PROCESS, FACES, "cpu_ms")),
    Target(
        "photographs per second, 16 clients: at least 15 times the baseline server",
        15,
        _ratio_to(BASELINE, PHOTOGRAPHS, "per_s"),
        at_least=True,
    ),
    Target(
        "portraits per second, 16 clients: at least 5 times the baseline server",
        5,
        _ratio_to(BASELINE, PORTRAITS, "per_s"),
        at_least=True,
    ),
    Target("missed faces and false boxes, beyond those of the baseline server: none", 0, _worse_detections),
    Target(
        "99th percentile of the latency of photographs, 16 clients: at most 0.1 times the baseline server",
        0.1,
        _ratio_to(BASELINE, PHOTOGRAPHS, "p99_ms"),
    ),
    Target("the same for portraits: at most 0.1 times", 0.1, _ratio_to(BASELINE, PORTRAITS, "p99_ms")),
    Target(
        "all stages of the median photograph, one thread: at most 40 ms", 40, _median_photograph("total_ms"), unit=" ms"
    ),
    Target(
        "detection in the median photograph, one thread: at most 12 ms", 12, _median_photograph("detect_ms"), unit=" ms"
    ),
    Target(
        "median latency of a portrait, one client: at most 1.5 ms more than the pipeline without HTTP",
        1.5,
        _added_latency_ms,
        unit=" ms",
    ),
    Target("errors with 128 clients, all workloads: none", 0, _errors),
    Target(
        "throughput of 128 clients divided by that of 16, the workload with the smallest ratio: at least 1",
        1.0,
        _throughput_of_128_clients,
        at_least=True,
    ),
    Target("slowest `/healthz` with 128 clients, all workloads: below 50 ms", 50, _slowest_health_ms, unit=" ms"),
    Target("throughput on two cores divided by that on one: at least 1.8", 1.8, _core_scaling, at_least=True),
    Target("resident memory, 16 clients, portraits and photographs: at most 350 MB", 350, _resident_mb, unit=" MB"),
    Target(
        "largest change of the resident memory after the 1,000th request: at most 3 %",
        3,
        _memory_drift_percent,
        unit=" %",
    ),
)
