"""The report: Markdown tables and plots out of the results, and their place in docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from benchmarks.asked import judge
from benchmarks.figures import Spread, Window, scaling_of, significant, spread_of
from benchmarks.servers import BASELINE, SERVICE
from benchmarks.stages import file_medians
from benchmarks.workloads import PHOTOGRAPHS, PORTRAITS

mpl.use("Agg")  # files only: no window system is needed

from matplotlib import pyplot as plt

Results = Mapping[str, Any]

STAGES = ("decode_ms", "detect_ms", "crop_ms", "classify_ms", "whole_ms")
PLOTS = ("performance-photographs.png", "performance-clients.png", "performance-arrivals.png", "performance-memory.png")
_DPI = 110
_CEILINGS = {
    "decode": ("decode_ms",),
    "decode and classify": ("decode_ms", "classify_ms"),
    "do all four stages": ("decode_ms", "detect_ms", "crop_ms", "classify_ms"),
}
_CAPACITY_CORES = (1, 2, 4, 8, 16)
# How full the cores of a machine may be in the long run: the plot of arrivals shows what waits beyond.
_USED_SHARE = 0.7


def sections(results: Results) -> dict[str, str]:
    """The generated parts by name; those that were measured."""
    builders = {
        "machine": _machine,
        "promises": _promises,
        "stages": _stages,
        "classify": _classify,
        "service": _service,
        "baseline": _baseline,
        "ceiling": _ceiling,
        "arrivals": _arrivals,
        "forms": _forms,
        "scaling": _scaling,
        "memory": _memory,
        "profile": _profile,
        "capacity": _capacity,
    }
    built = {}
    for name, build in builders.items():
        try:
            built[name] = build(results)
        except KeyError:
            continue
    return built


def write_report(results: Results, folder: Path) -> Path:
    """Writes report.md with its plots into a folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder)
    parts = [f"## {name.capitalize()}\n\n{text}" for name, text in sections(results).items()]
    plots = [f"![{name}]({name})" for name in PLOTS if (folder / name).exists()]
    path = folder / "report.md"
    path.write_text("\n\n".join(["# Benchmark", *parts, *plots]) + "\n", encoding="utf-8")
    return path


def place_in_document(text: str, parts: Mapping[str, str]) -> str:
    """A document with its generated parts replaced: each stands between `<!-- bench:NAME -->` and `<!-- /bench -->`.

    Raises:
        ValueError: A part has no place in the document, or a place has no part.
    """
    places = re.findall(r"<!-- bench:(\w+) -->", text)
    if sorted(places) != sorted(parts):
        raise ValueError(f"the document has places for {sorted(places)}. Received: {sorted(parts)}")
    return re.sub(
        r"<!-- bench:(\w+) -->.*?<!-- /bench -->",
        lambda place: f"<!-- bench:{place[1]} -->\n{parts[place[1]]}\n<!-- /bench -->",
        text,
        flags=re.DOTALL,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _machine(results: Results) -> str:
    machine = results["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    quick = " A quick run: its figures are no measurement." if results["quick"] else ""
    return (
        f"{results['rounds']} rounds on {results['started']}, commit `{machine['commit']}`: {machine['cpu']},"
        f" {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, Python {machine['python']},"
        f" {packages}."
        f" Load average before it began: {machine['load_before']}.{quick}"
    )


def _promises(results: Results) -> str:
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        [
            verdict.promise.asked,
            "" if verdict.spread is None else verdict.spread.text() + verdict.promise.unit,
            words[verdict.met],
        ]
        for verdict in judge(results)
    ]
    return _table(("asked", "measured: median (least to greatest round)", "met"), rows)


def _stages(results: Results) -> str:
    rows = []
    for name, files in results["stages"]["files"].items():
        cells = [_median_and_tail(file_medians(files, stage)) for stage in STAGES]
        rows.append([f"{name}: {results['workloads'][name]}", *cells])
    return _table(
        ("ms of one thread: median file (90th percentile)", "decode", "detect", "crop", "classify", "all"), rows
    )


def _median_and_tail(values: Sequence[float]) -> str:
    return f"{significant(float(np.median(values)))} ({significant(float(np.percentile(values, 90)))})"


def _classify(results: Results) -> str:
    batches = results["stages"]["classify"]
    return _table(
        ("faces in a batch", *batches), [["ms a face", *(Spread.of(times).text() for times in batches.values())]]
    )


def _windows_row(windows: Sequence[Window]) -> list[str]:
    return [
        spread_of(windows, "per_s").text(),
        *(spread_of(windows, figure).text(2) for figure in ("p50_ms", "p90_ms", "p99_ms", "cpu_ms")),
        significant(spread_of(windows, "server_cores").median, 2),
        significant(spread_of(windows, "generator_share").median, 2),
        f"{spread_of(windows, 'rss_mb').median:.0f}",
        f"{sum(window['errors'] for window in windows):.0f}",
    ]


_WINDOWS_HEAD = (
    "requests/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "CPU ms/request",
    "cores used",
    "cores used by the generator",
    "RSS MB",
    "errors",
)


def _service(results: Results) -> str:
    rows = [
        [workload, clients, *_windows_row(windows)]
        for workload, by_clients in results["closed"][SERVICE].items()
        for clients, windows in by_clients.items()
    ]
    return _table(("workload", "clients", *_WINDOWS_HEAD), rows)


def _baseline(results: Results) -> str:
    rows = []
    for workload, by_clients in results["closed"][BASELINE].items():
        for kind in (SERVICE, BASELINE):
            for clients in by_clients:
                rows.append([workload, kind, clients, *_windows_row(results["closed"][kind][workload][clients])])
    detection = [
        [kind, f"{counted['found']} of {counted['faces']}", counted["false"]]
        for kind, counted in results["detection"].items()
    ]
    return "\n\n".join(
        (
            _table(("workload", "server", "clients", *_WINDOWS_HEAD), rows),
            _table(("server", "faces found in the photographs", "false boxes"), detection),
        )
    )


def _ceiling(results: Results) -> str:
    """How far any server is above the baseline that spends on a request what some of the service's stages take."""
    workloads = results["closed"][BASELINE]
    rows = []
    for name, stages in _CEILINGS.items():
        cells = [significant(ceiling(results, workload, stages)) for workload in workloads]
        rows.append([name, *cells])
    return _table(("a server that would only", *workloads), rows)


def ceiling(results: Results, workload: str, stages: Sequence[str]) -> float:
    """The baseline's processor time for a request, 16 clients, over what stages take of the mean file."""
    spent_ms = spread_of(results["closed"][BASELINE][workload]["16"], "cpu_ms").median
    files = results["stages"]["files"][workload]
    return spent_ms / float(np.mean([file_medians(files, stage) for stage in stages], axis=1).sum())


def _arrivals(results: Results) -> str:
    rows = [
        [
            significant(window["rate"]),
            f"{window['load']:.0%}",
            *(significant(window[figure]) for figure in ("p50_ms", "p90_ms", "p99_ms", "server_cores")),
            f"{window['errors']:.0f} of {window['requests']:.0f}",
        ]
        for window in results["open"]
    ]
    head = ("arrivals/s", "of the closed loop's throughput", "p50 ms", "p90 ms", "p99 ms", "cores used", "errors")
    return _table(head, rows)


def _forms(results: Results) -> str:
    rows = [
        [workload, form, *(spread_of(windows, figure).text() for figure in ("cpu_ms", "loop_cpu_ms", "per_s"))]
        for workload, by_form in results["forms"].items()
        for form, windows in by_form.items()
    ]
    return _table(("workload", "sent as", "CPU ms/request", "of it in the event loop", "requests/s"), rows)


def _scaling(results: Results) -> str:
    one, two = results["scaling"]["1"], results["scaling"]["2"]
    rows = [
        [cores, spread_of(windows, "per_s").text(), significant(spread_of(windows, "generator_share").median, 2)]
        for cores, windows in (("1", one), ("2", two))
    ]
    plain = Spread.of([second["per_s"] / first["per_s"] for first, second in zip(one, two, strict=True)])
    counted = Spread.of([scaling_of(first, second) for first, second in zip(one, two, strict=True)])
    return (
        _table(("cores of the service", "portraits/s, 16 clients", "cores used by the generator"), rows)
        + f"\n\nTwo cores over one: {plain.text()}; with the generator's share taken off the two: {counted.text()}."
    )


def _memory(results: Results) -> str:
    samples = results["memory"]
    shown = [samples[0], *(samples[len(samples) * part // 5] for part in range(1, 5)), samples[-1]]
    return _table(
        ("requests", *(f"{sample['requests']:,}" for sample in shown)),
        [["resident MB", *(f"{sample['rss_mb']:.1f}" for sample in shown)]],
    )


def _profile(results: Results) -> str:
    workloads = list(results["profile"])
    places = list(dict.fromkeys(place for shares in results["profile"].values() for place in shares))
    rows = [
        [place, *(f"{results['profile'][workload].get(place, 0):.1%}" for workload in workloads)] for place in places
    ]
    return _table(("processor time spent in", *workloads), rows)


def _capacity(results: Results) -> str:
    rows = []
    for workload, by_clients in results["closed"][SERVICE].items():
        cpu_ms = spread_of(by_clients["16"], "cpu_ms").median
        loop_ms = spread_of(by_clients["16"], "loop_cpu_ms").median
        per_s = [significant(capacity_per_s(cpu_ms, cores), 2) for cores in _CAPACITY_CORES]
        rows.append([workload, significant(cpu_ms), *per_s, significant(1000 / loop_ms, 2)])
    cores = [f"{number} core{'s' if number > 1 else ''}" for number in _CAPACITY_CORES]
    return _table(("requests/s", "CPU ms/request", *cores, "one event loop ends at"), rows)


def capacity_per_s(cpu_ms: float, cores: int) -> float:
    """Requests a second that cores can answer in the long run, computed from what one request costs."""
    return cores * _USED_SHARE / (cpu_ms / 1000)


def draw(results: Results, folder: Path) -> None:
    """Draws what was measured."""
    drawings = (_draw_photographs, _draw_clients, _draw_arrivals, _draw_memory)
    for name, drawing in zip(PLOTS, drawings, strict=True):
        figure = plt.figure(figsize=(9, 4), layout="constrained")
        try:
            drawing(results, figure)
        except KeyError:
            continue
        else:
            figure.savefig(folder / name, dpi=_DPI)
        finally:
            plt.close(figure)


def _draw_photographs(results: Results, figure: Any) -> None:
    files = results["stages"]["files"][PHOTOGRAPHS]
    megapixels = [file["width_px"] * file["height_px"] / 1e6 for file in files]
    axes = figure.subplots()
    for stage, colour in (("decode_ms", "tab:blue"), ("detect_ms", "tab:orange"), ("classify_ms", "tab:green")):
        axes.plot(megapixels, file_medians(files, stage), "o", color=colour, alpha=0.7, label=stage.removesuffix("_ms"))
    axes.set(
        title="What a photograph costs", xlabel="megapixels", ylabel="ms of one thread", xscale="log", yscale="log"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def _draw_clients(results: Results, figure: Any) -> None:
    throughput_axes, latency_axes = figure.subplots(1, 2)
    for workload, by_clients in results["closed"][SERVICE].items():
        clients = [int(number) for number in by_clients]
        throughput_axes.plot(clients, [spread_of(w, "per_s").median for w in by_clients.values()], "o-", label=workload)
        latency_axes.plot(clients, [spread_of(w, "p99_ms").median for w in by_clients.values()], "o-", label=workload)
    throughput_axes.set(title="Throughput", xlabel="clients", ylabel="requests/s", xscale="log", yscale="log")
    latency_axes.set(title="99th percentile of latency", xlabel="clients", ylabel="ms", xscale="log", yscale="log")
    for axes in (throughput_axes, latency_axes):
        axes.grid(alpha=0.3)
    figure.legend(*latency_axes.get_legend_handles_labels(), loc="outside right center")


def _draw_arrivals(results: Results, figure: Any) -> None:
    axes = figure.subplots()
    rates = [window["rate"] for window in results["open"]]
    for name in ("p50_ms", "p90_ms", "p99_ms"):
        axes.plot(rates, [window[name] for window in results["open"]], "o-", label=name.removesuffix("_ms"))
    axes.set(title=f"Latency of {PORTRAITS} that arrive by chance", xlabel="arrivals/s", ylabel="ms", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def _draw_memory(results: Results, figure: Any) -> None:
    axes = figure.subplots()
    samples = results["memory"]
    axes.plot([sample["requests"] for sample in samples], [sample["rss_mb"] for sample in samples])
    axes.set(title="Resident memory", xlabel="requests", ylabel="MB")
    axes.set_ylim(0, 1.2 * max(sample["rss_mb"] for sample in samples))
    axes.grid(alpha=0.3)
