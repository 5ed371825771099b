"""Figures and table of the comparison of two checkouts; see `benchmarks.compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.summary import Spread
from benchmarks.tables import markdown_table

BEFORE, AFTER = "before", "after"
CLIENTS = 16
OVERLOAD_SUFFIX = " at ten times the peak load"

# Side -> workload -> one window of figures per round.
Results = dict[str, dict[str, list[dict[str, float]]]]


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    Attributes:
        name: Key in a window.
        title: Name and unit in the table.
        factor: Multiplies the value for the table.
        difference: Unit of `after - before`, which the table gives in place of `after / before`; None for the ratio.
    """

    name: str
    title: str
    factor: float = 1.0
    difference: str | None = None

    def compare(self, before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]) -> str:
        """Return the comparison over all rounds as text."""
        pairs = [
            (one[self.name] * self.factor, other[self.name] * self.factor)
            for one, other in zip(before, after, strict=True)
        ]
        if self.difference is not None:
            spread = Spread.of([other - one for one, other in pairs])
            return f"{spread.median:+.2f} ({spread.low:+.2f} to {spread.high:+.2f}) {self.difference}"
        return Spread.of([other / one if one else float("nan") for one, other in pairs]).text()


HTTP_FIGURES = (
    Figure("cpu_ms", "CPU ms/request"),
    Figure("per_s", "requests/s"),
    Figure("p50_ms", "median latency, ms"),
    Figure("p99_ms", "99th percentile of latency, ms"),
)
OVERLOAD_FIGURES = (
    Figure("peak_cpu_ms", "CPU ms/request at the peak"),
    Figure("peak_per_s", "peak, requests/s"),
    Figure("goodput_per_s", "goodput, requests/s"),
    Figure("goodput_share", "goodput, % of the peak", 100, difference="points"),
    # On a busy machine this share is steadier than the goodput, because it does not depend on the clock.
    Figure("answer_cpu_share", "CPU time for answers, %", 100, difference="points"),
    Figure("refusal_cpu_ms", "CPU ms/refusal", difference="ms"),
    Figure("refused_p50_s", "median latency of refusals, ms", 1000),
    Figure("refused_p99_s", "99th percentile of latency of refusals, ms", 1000),
)


def report(details: Mapping[str, Any], results: Results) -> str:
    """Return the comparison in Markdown."""
    rows, errors = [], []
    for name, before in results[BEFORE].items():
        after = results[AFTER][name]
        for figure in OVERLOAD_FIGURES if name.endswith(OVERLOAD_SUFFIX) else HTTP_FIGURES:
            cells = [Spread.of([figure.factor * w[figure.name] for w in side]).text() for side in (before, after)]
            rows.append([name, figure.title, *cells, figure.compare(before, after)])
        errors += [
            f"{name}, {side}: {count:.0f} errors"
            for side, windows in ((BEFORE, before), (AFTER, after))
            if (count := sum(window["errors"] for window in windows))
        ]
    machine, checkouts, limit = details["machine"], details["checkouts"], details["after_limit"]
    head = (
        f"{details['rounds']} rounds in {details['wall_s'] / 60:.1f} minutes, {machine['cpu']} ({machine['cpu_kind']}),"
        f" {machine['cores']} cores, load average before the run {machine['load_before']};"
        f" before: `{checkouts[BEFORE]['commit']}`, after: `{checkouts[AFTER]['commit']}`."
        f"{'' if limit is None else f' Under overload, after has the concurrency limit {limit}.'}"
        f" Closed loop: {CLIENTS} clients. Each cell: median (smallest to largest round)."
    )
    table = markdown_table(("workload", "figure", BEFORE, AFTER, "after / before, or after - before"), rows)
    return "\n\n".join([head, table, *errors])
