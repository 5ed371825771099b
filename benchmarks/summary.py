"""Summary statistics: quantiles of one measured window, spread over rounds, and ratios of windows of one round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import in_process
from benchmarks.measurement import Measurement

# Figures of one measured window by name, as in results.json.
Window = Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest value over several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))

    def text(self, digits: int = 3) -> str:
        """Return text in the form `12.3 (11.9 to 12.8)` with this number of significant digits."""
        if self.low == self.high:
            return significant(self.median, digits)
        low, high = significant(self.low, digits), significant(self.high, digits)
        return f"{significant(self.median, digits)} ({low} to {high})"


def significant(value: float, digits: int = 3) -> str:
    """Return a number with this number of significant digits and without an exponent."""
    if not np.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))}f}"


def summarize(measurement: Measurement) -> dict[str, float]:
    """Return the figures of a measurement over HTTP.

    Returns:
        Latencies in milliseconds. `cpu_ms` is the CPU time of the server per request, and `loop_cpu_ms` the part of it
        that the event loop's thread used. `server_cores` and `generator_cores` are CPU time per wall-clock time.
    """
    requests = len(measurement.latencies_s)
    figures = _latencies(measurement.latencies_s) | {
        "requests": requests,
        "errors": measurement.errors,
        "per_s": measurement.successes / measurement.seconds,
        "cpu_ms": measurement.server_cpu_s / requests * 1000,
        "loop_cpu_ms": measurement.server_loop_cpu_s / requests * 1000,
        "server_cores": measurement.server_cpu_s / measurement.seconds,
        "generator_cores": measurement.generator_cpu_s / measurement.seconds,
        "rss_mb": measurement.rss_kb / 1000,
    }
    if measurement.health_s:
        health_ms = np.array(measurement.health_s) * 1000
        figures |= {
            "health_p50_ms": float(np.median(health_ms)),
            "health_max_ms": float(health_ms.max()),
            "health_errors": measurement.health_errors,
            "health_requests": len(health_ms),
        }
    return figures


def summarize_in_process(measurement: in_process.Measurement) -> dict[str, float]:
    """Return the figures of a measurement of the pipeline without HTTP."""
    requests = len(measurement.latencies_s)
    return _latencies(measurement.latencies_s) | {
        "requests": requests,
        "per_s": requests / measurement.seconds,
        "cpu_ms": measurement.cpu_s / requests * 1000,
    }


def _latencies(seconds: Sequence[float]) -> dict[str, float]:
    p50, p90, p99 = np.percentile(np.array(seconds) * 1000, [50, 90, 99])
    return {"p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99), "max_ms": max(seconds) * 1000}


def spread_of(windows: Sequence[Window], figure: str) -> Spread:
    """Return the spread of one figure over all windows."""
    return Spread.of([window[figure] for window in windows])


def per_round(
    first: Sequence[Window], second: Sequence[Window], combine: Callable[[Window, Window], float]
) -> list[float]:
    """Combine the windows of each round, which ran one after the other."""
    return [combine(one, other) for one, other in zip(first, second, strict=True)]


def core_scaling(one_core: Window, two_cores: Window) -> float:
    """Return the throughput on two cores divided by the throughput on one core.

    The load generator has its own core when the service has one core, and shares the two cores otherwise. The result
    does not count the share that the load generator used.
    """
    return two_cores["per_s"] / (2 - two_cores["generator_cores"]) * 2 / one_core["per_s"]


def memory_drift(samples: Sequence[Mapping[str, float]], first: int) -> float:
    """Return the largest relative change of the resident memory, up or down.

    Args:
        samples: `requests` so far and `rss_mb`, in order.
        first: The reference is the first sample with at least this number of requests.
    """
    counted = [sample["rss_mb"] for sample in samples if sample["requests"] >= first]
    return max(abs(rss / counted[0] - 1) for rss in counted)
