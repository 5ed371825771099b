"""Plots of the benchmark results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.servers import SERVICE
from benchmarks.stages import file_medians
from benchmarks.summary import spread_of
from benchmarks.workloads import PHOTOGRAPHS, PORTRAITS

mpl.use("Agg")  # writes files and needs no display

from matplotlib import pyplot as plt

Results = Mapping[str, Any]

PLOTS = ("performance-photographs.png", "performance-clients.png", "performance-arrivals.png", "performance-memory.png")
_DPI = 110


def draw(results: Results, folder: Path) -> None:
    """Write the plots of everything that the run measured into a folder."""
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
    title = "CPU time of a photograph by stage"
    axes.set(title=title, xlabel="megapixels", ylabel="ms of one thread", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def _draw_clients(results: Results, figure: Any) -> None:
    throughput_axes, latency_axes = figure.subplots(1, 2)
    for workload, by_clients in results["closed"][SERVICE].items():
        clients = [int(number) for number in by_clients]
        for axes, figure_name in ((throughput_axes, "per_s"), (latency_axes, "p99_ms")):
            medians = [spread_of(windows, figure_name).median for windows in by_clients.values()]
            axes.plot(clients, medians, "o-", label=workload)
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
    axes.set(title=f"Latency of {PORTRAITS} that arrive at random", xlabel="arrivals/s", ylabel="ms", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def _draw_memory(results: Results, figure: Any) -> None:
    axes = figure.subplots()
    samples = results["memory"]
    axes.plot([sample["requests"] for sample in samples], [sample["rss_mb"] for sample in samples])
    axes.set(title="Resident memory", xlabel="requests", ylabel="MB")
    axes.set_ylim(0, 1.2 * max(sample["rss_mb"] for sample in samples))
    axes.grid(alpha=0.3)
