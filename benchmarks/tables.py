"""Markdown tables of the benchmark results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.servers import BASELINE, SERVICE
from benchmarks.stages import STAGES, TOTAL, file_medians
from benchmarks.summary import Spread, Window, core_scaling, significant, spread_of
from benchmarks.targets import evaluate

Results = Mapping[str, Any]

_CEILINGS = {
    "decode": ("decode_ms",),
    "decode and classify": ("decode_ms", "classify_ms"),
    "run all four stages": STAGES,
}
_CAPACITY_CORES = (1, 2, 4, 8, 16)
# Share of the cores that may be busy in the long run. The latency by arrivals per second shows the queue beyond it.
_USED_SHARE = 0.7
_WINDOW_HEAD = (
    "requests/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "CPU ms/request",
    "cores used",
    "cores used by the load generator",
    "RSS MB",
    "errors",
)


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine_text(results: Results) -> str:
    """Return a sentence with machine, versions and commit."""
    machine = results["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    quick = " This was a quick run: its figures are not a measurement." if results["quick"] else ""
    return (
        f"{results['rounds']} rounds on {results['started']}, commit `{machine['commit']}`: {machine['cpu']}"
        f" ({machine['cpu_kind']}), {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']},"
        f" Python {machine['python']}, {packages}. Load average before the run: {machine['load_before']}.{quick}"
    )


def targets_table(results: Results) -> str:
    """Return the table of the performance targets."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        [
            verdict.target.title,
            "" if verdict.spread is None else verdict.spread.text() + verdict.target.unit,
            words[verdict.met],
        ]
        for verdict in evaluate(results)
    ]
    return markdown_table(("target", "measured: median (smallest to largest round)", "met"), rows)


def stages_table(results: Results) -> str:
    """Return the table of the CPU time by workload and stage."""
    rows = []
    for name, files in results["stages"]["files"].items():
        cells = [_median_and_tail(file_medians(files, stage)) for stage in (*STAGES, TOTAL)]
        rows.append([f"{name}: {results['workloads'][name]}", *cells])
    head = ("ms of one thread: median file (90th percentile)", "decode", "detect", "crop", "classify", "total")
    return markdown_table(head, rows)


def _median_and_tail(values: Sequence[float]) -> str:
    return f"{significant(float(np.median(values)))} ({significant(float(np.percentile(values, 90)))})"


def classify_table(results: Results) -> str:
    """Return the table of the network's time per face by batch size."""
    batches = results["stages"]["classify"]
    cells = [Spread.of(times).text() for times in batches.values()]
    return markdown_table(("faces in a batch", *batches), [["ms per face", *cells]])


def _window_cells(windows: Sequence[Window]) -> list[str]:
    return [
        spread_of(windows, "per_s").text(),
        *(spread_of(windows, figure).text(2) for figure in ("p50_ms", "p90_ms", "p99_ms", "cpu_ms")),
        significant(spread_of(windows, "server_cores").median, 2),
        significant(spread_of(windows, "generator_cores").median, 2),
        f"{spread_of(windows, 'rss_mb').median:.0f}",
        f"{sum(window['errors'] for window in windows):.0f}",
    ]


def service_table(results: Results) -> str:
    """Return the table of the closed loop by workload and number of clients."""
    rows = [
        [workload, clients, *_window_cells(windows)]
        for workload, by_clients in results["closed"][SERVICE].items()
        for clients, windows in by_clients.items()
    ]
    return markdown_table(("workload", "clients", *_WINDOW_HEAD), rows)


def baseline_table(results: Results) -> str:
    """Return two tables that compare the service with the baseline server: speed and detection."""
    rows = []
    for workload, by_clients in results["closed"][BASELINE].items():
        for kind in (SERVICE, BASELINE):
            for clients in by_clients:
                rows.append([workload, kind, clients, *_window_cells(results["closed"][kind][workload][clients])])
    detection = [
        [kind, f"{counted['found']} of {counted['faces']}", counted["false"]]
        for kind, counted in results["detection"].items()
    ]
    speed = markdown_table(("workload", "server", "clients", *_WINDOW_HEAD), rows)
    return f"{speed}\n\n{markdown_table(('server', 'faces found in the photographs', 'false boxes'), detection)}"


def ceiling_table(results: Results) -> str:
    """Return the table of the largest possible ratio to the baseline server."""
    workloads = results["closed"][BASELINE]
    rows = [
        [name, *(significant(ceiling(results, workload, stages)) for workload in workloads)]
        for name, stages in _CEILINGS.items()
    ]
    return markdown_table(("a server that would only", *workloads), rows)


def ceiling(results: Results, workload: str, stages: Sequence[str]) -> float:
    """Return the baseline server's CPU time per request, divided by the time of some stages for the mean file."""
    spent_ms = spread_of(results["closed"][BASELINE][workload]["16"], "cpu_ms").median
    files = results["stages"]["files"][workload]
    return spent_ms / float(np.mean([file_medians(files, stage) for stage in stages], axis=1).sum())


def arrivals_table(results: Results) -> str:
    """Return the table of the open loop by arrivals per second."""
    rows = [
        [
            significant(window["rate"]),
            f"{window['load']:.0%}",
            *(significant(window[figure]) for figure in ("p50_ms", "p90_ms", "p99_ms", "server_cores")),
            f"{window['errors']:.0f} of {window['requests']:.0f}",
        ]
        for window in results["open"]
    ]
    head = ("arrivals/s", "share of the closed loop's throughput", "p50 ms", "p90 ms", "p99 ms", "cores used", "errors")
    return markdown_table(head, rows)


def forms_table(results: Results) -> str:
    """Return the table of the three request forms."""
    rows = [
        [workload, form, *(spread_of(windows, figure).text() for figure in ("cpu_ms", "loop_cpu_ms", "per_s"))]
        for workload, by_form in results["forms"].items()
        for form, windows in by_form.items()
    ]
    return markdown_table(("workload", "form", "CPU ms/request", "of which event loop", "requests/s"), rows)


def scaling_table(results: Results) -> str:
    """Return the table of the throughput on one and two cores, and their ratio."""
    one, two = results["scaling"]["1"], results["scaling"]["2"]
    rows = [
        [cores, spread_of(windows, "per_s").text(), significant(spread_of(windows, "generator_cores").median, 2)]
        for cores, windows in (("1", one), ("2", two))
    ]
    plain = Spread.of([second["per_s"] / first["per_s"] for first, second in zip(one, two, strict=True)])
    corrected = Spread.of([core_scaling(first, second) for first, second in zip(one, two, strict=True)])
    return (
        markdown_table(("cores of the service", "portraits/s, 16 clients", "cores used by the load generator"), rows)
        + f"\n\nTwo cores divided by one: {plain.text()}; without the share of the load generator: {corrected.text()}."
    )


def memory_table(results: Results) -> str:
    """Return the table of the resident memory by requests."""
    samples = results["memory"]
    shown = [samples[0], *(samples[len(samples) * part // 5] for part in range(1, 5)), samples[-1]]
    requests = [f"{sample['requests']:,}" for sample in shown]
    return markdown_table(("requests", *requests), [["RSS MB", *(f"{sample['rss_mb']:.1f}" for sample in shown)]])


def profile_table(results: Results) -> str:
    """Return the table of the CPU time by part of the program."""
    workloads = list(results["profile"])
    parts = list(dict.fromkeys(part for shares in results["profile"].values() for part in shares))
    rows = [[part, *(f"{results['profile'][name].get(part, 0):.1%}" for name in workloads)] for part in parts]
    return markdown_table(("share of CPU time", *workloads), rows)


def capacity_table(results: Results) -> str:
    """Return the table of the computed capacity by cores."""
    rows = []
    for workload, by_clients in results["closed"][SERVICE].items():
        cpu_ms = spread_of(by_clients["16"], "cpu_ms").median
        loop_ms = spread_of(by_clients["16"], "loop_cpu_ms").median
        per_s = [significant(capacity_per_s(cpu_ms, cores), 2) for cores in _CAPACITY_CORES]
        rows.append([workload, significant(cpu_ms), *per_s, significant(1000 / loop_ms, 2)])
    cores = [f"{number} core{'s' if number > 1 else ''}" for number in _CAPACITY_CORES]
    return markdown_table(("requests/s", "CPU ms/request", *cores, "limit of the event loop"), rows)


def capacity_per_s(cpu_ms: float, cores: int) -> float:
    """Return the requests per second that cores can answer in the long run, from the CPU time of a request."""
    return cores * _USED_SHARE / (cpu_ms / 1000)
