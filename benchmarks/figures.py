"""From samples to figures: quantiles of a window, the spread of windows, ratios of windows that ran side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import in_process, load

# What a window has, as it stands in the JSON.
Window = Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    """The median of several windows, with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.median(values)), float(min(values)), float(max(values)))

    def text(self, digits: int = 3) -> str:
        """`12.3 (11.9 to 12.8)`: so many significant digits."""
        if self.low == self.high:
            return significant(self.median, digits)
        return " ".join(
            (
                significant(self.median, digits),
                f"({significant(self.low, digits)} to {significant(self.high, digits)})",
            )
        )


def significant(value: float, digits: int = 3) -> str:
    """A number for people: so many significant digits, never an exponent."""
    if not np.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))}f}"


def window_of(seen: load.Seen) -> dict[str, float]:
    """The figures of one measurement over HTTP.

    Returns:
        Latencies in milliseconds; `cpu_ms` is what the server spent for each request, `loop_cpu_ms` what of it the
        thread of its event loop spent; `generator_share` is the load generator's processor time by the clock, in
        cores.
    """
    requests = len(seen.latencies_s)
    figures = _latencies(seen.latencies_s) | {
        "requests": requests,
        "errors": seen.errors,
        "per_s": seen.good / seen.seconds,
        "cpu_ms": seen.server_cpu_s / requests * 1000,
        "loop_cpu_ms": seen.server_loop_cpu_s / requests * 1000,
        "server_cores": seen.server_cpu_s / seen.seconds,
        "generator_share": seen.generator_cpu_s / seen.seconds,
        "rss_mb": seen.rss_kb / 1000,
    }
    if seen.health_s:
        health_ms = np.array(seen.health_s) * 1000
        figures |= {
            "health_p50_ms": float(np.median(health_ms)),
            "health_max_ms": float(health_ms.max()),
            "health_errors": seen.health_errors,
            "health_asked": len(health_ms),
        }
    return figures


def in_process_window_of(seen: in_process.Seen) -> dict[str, float]:
    """The figures of one measurement of the pipeline alone."""
    requests = len(seen.latencies_s)
    return _latencies(seen.latencies_s) | {
        "requests": requests,
        "per_s": requests / seen.seconds,
        "cpu_ms": seen.cpu_s / requests * 1000,
    }


def _latencies(seconds: Sequence[float]) -> dict[str, float]:
    p50, p90, p99 = np.percentile(np.array(seconds) * 1000, [50, 90, 99])
    return {"p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99), "max_ms": max(seconds) * 1000}


def spread_of(windows: Sequence[Window], figure: str) -> Spread:
    """One figure over all windows."""
    return Spread.of([window[figure] for window in windows])


def paired(
    first: Sequence[Window], second: Sequence[Window], combine: Callable[[Window, Window], float]
) -> list[float]:
    """What windows of two things have to do with each other, round by round: they ran one right after the other."""
    return [combine(one, other) for one, other in zip(first, second, strict=True)]


def scaling_of(one: Window, two: Window) -> float:
    """Throughput of two cores against one, where the generator took its share of the two.

    With one core for the service the generator has the other to itself; with two it is a guest on them, and what it
    spent is not theirs to spend.
    """
    return two["per_s"] / (2 - two["generator_share"]) * 2 / one["per_s"]


def flatness_of(samples: Sequence[Mapping[str, float]], first: int) -> float:
    """How far resident memory went from what it was after so many requests, as a share of it, up or down.

    Args:
        samples: `requests` so far and `rss_mb`, in order.
        first: The sample at so many requests, or the next after it, is the measure.
    """
    counted = [sample["rss_mb"] for sample in samples if sample["requests"] >= first]
    return max(abs(rss / counted[0] - 1) for rss in counted)
