"""Compare two checkouts of the service: `python -m benchmarks.compare --before DIR --after DIR`.

Both checkouts are measured in every round, right after each other, and the first one changes from round to round, so
that changes of the machine's speed affect both. A round starts each service twice: with all cores for the closed loop,
and with all cores but the last one, which the load generator uses, for ten times the peak load. Each service runs as
`python -m app` with its checkout as working directory and with this Python.

The program prints a Markdown table and writes all figures to runs/bench/compare.json. It takes about five minutes, and
about one minute with `--quick`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, describe
from benchmarks.over_http import MIN_REQUESTS, Plan, describe_window, measure_window, requests_of, temporary_files
from benchmarks.servers import run_service
from benchmarks.summary import Spread
from benchmarks.tables import markdown_table
from benchmarks.workloads import FACES, PHOTOGRAPHS, PORTRAITS, Workload, load_workloads
from stress import workloads as stress_workloads
from stress.client import Client
from stress.goodput import measure_overload, measure_peak
from stress.service_process import ServiceProcess, load_generator_on, run_service_process, split_cores
from tests.support.paths import REPOSITORY, SHARED_DATA

BEFORE, AFTER = "before", "after"
WORKLOADS = (PORTRAITS, PHOTOGRAPHS, FACES)
OVERLOADS = (stress_workloads.PORTRAITS, stress_workloads.PHOTOGRAPHS)
CLIENTS = 16

OVERLOAD_SUFFIX = " at ten times the peak load"

# Side -> workload -> one window of figures per round.
Results = dict[str, dict[str, list[dict[str, float]]]]
# Stores the figures of a side and a workload, and prints a line.
Keep = Callable[[str, str, dict[str, float], str], None]


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


def main() -> int:
    """Measure both checkouts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the old service")
    parser.add_argument("--after", type=Path, required=True, help="checkout of the new service")
    parser.add_argument("--rounds", type=int, default=4, help="default: %(default)s; with --quick 2")
    parser.add_argument("--seconds", type=float, default=3.5, help="length of a window; default: %(default)s")
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--overloads", nargs="*", choices=OVERLOADS, default=list(OVERLOADS))
    parser.add_argument("--quick", action="store_true", help="two rounds with short windows")
    parser.add_argument("--data", type=Path, default=SHARED_DATA, help="folder with photos/; default: %(default)s")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "bench" / "compare.json")
    arguments = parser.parse_args()
    directories = {BEFORE: arguments.before.resolve(), AFTER: arguments.after.resolve()}
    for directory in directories.values():
        if not (directory / "app" / "__main__.py").is_file():
            parser.error(f"expected a checkout of the service with app/__main__.py. Received: {directory}")
    rounds, seconds = (2, 0.8) if arguments.quick else (arguments.rounds, arguments.seconds)
    plan = Plan(rounds, seconds, warm_up_s=min(1.0, seconds), memory_requests=0)
    available = load_workloads(arguments.data, only=arguments.workloads)
    for name in set(arguments.workloads) - set(available):
        print(f"no {name}: {arguments.data} does not have their files", file=sys.stderr)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results = measure(directories, available, arguments.overloads, plan, arguments.out.parent)
    details = {
        "machine": describe(),
        "checkouts": {side: {"path": str(path), "commit": commit(path)} for side, path in directories.items()},
        "rounds": rounds,
        "wall_s": time.monotonic() - started,
    }
    arguments.out.write_text(json.dumps(details | {"results": results}, indent=1) + "\n", encoding="utf-8")
    print(f"\n{report(details, results)}\n\n{arguments.out}")
    return 0


def measure(
    directories: Mapping[str, Path],
    workloads: Mapping[str, Workload],
    overloads: Collection[str],
    plan: Plan,
    logs: Path,
) -> Results:
    """Measure both checkouts in alternating order.

    Args:
        directories: Checkout by side.
        workloads: Workloads of the closed loop.
        overloads: Names of the workloads that are sent at ten times the peak load.
        plan: Rounds and times.
        logs: Folder for the logs of the services.
    """
    results: Results = {side: {} for side in directories}

    def keep(side: str, name: str, figures: dict[str, float], line: str) -> None:
        results[side].setdefault(name, []).append(figures)
        print(f"{side:6} {name}: {line}", flush=True)

    for number in range(plan.rounds):
        print(f"--- round {number + 1} of {plan.rounds}", flush=True)
        order = dict(list(directories.items())[:: 1 if number % 2 == 0 else -1])
        if workloads:
            measure_closed_loop(order, workloads, plan, logs, keep)
        if overloads:
            measure_overloads(order, overloads, plan, logs, keep)
    return results


def measure_closed_loop(
    directories: Mapping[str, Path], workloads: Mapping[str, Workload], plan: Plan, logs: Path, keep: Keep
) -> None:
    """Run both services and measure each workload, first with one service and then with the other."""
    with ExitStack() as stack:
        servers = {
            side: stack.enter_context(run_service(None, directory, logs / f"compare-{side}.log"))
            for side, directory in directories.items()
        }
        for workload in workloads.values():
            with temporary_files(requests_of(workload)) as requests:
                for side, server in servers.items():
                    window = measure_window(server, requests, CLIENTS, plan, min_requests=MIN_REQUESTS)
                    keep(side, workload.name, window, describe_window(window))


def measure_overloads(
    directories: Mapping[str, Path], names: Collection[str], plan: Plan, logs: Path, keep: Keep
) -> None:
    """Run both services and send ten times the peak load, first to one service and then to the other."""
    service_cores, generator_cores = split_cores()
    workloads = stress_workloads.load_workloads()

    async def run(service: ServiceProcess, request: bytes) -> dict[str, float]:
        client, pid = Client(service.port), service.process.pid
        peak = await measure_peak(client, pid, request, plan.seconds)
        overload = await measure_overload(client, pid, request, peak, plan.seconds)
        client.close()
        return overload.figures() | {"errors": len(overload.other_statuses)}

    with ExitStack() as stack:
        stack.enter_context(load_generator_on(generator_cores))
        servers = {
            side: stack.enter_context(
                run_service_process(logs / f"compare-{side}-overload.log", service_cores, directory)
            )
            for side, directory in directories.items()
        }
        for name in names:
            for side, server in servers.items():
                figures = asyncio.run(run(server, workloads[name].request))
                line = f"goodput {figures['goodput_share']:.0%} of {figures['peak_per_s']:.1f}/s"
                keep(side, f"{name}{OVERLOAD_SUFFIX}", figures, line)


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
    machine, checkouts = details["machine"], details["checkouts"]
    head = (
        f"{details['rounds']} rounds in {details['wall_s'] / 60:.1f} minutes, {machine['cpu']} ({machine['cpu_kind']}),"
        f" {machine['cores']} cores, load average before the run {machine['load_before']};"
        f" before: `{checkouts[BEFORE]['commit']}`, after: `{checkouts[AFTER]['commit']}`."
        f" Closed loop: {CLIENTS} clients. Each cell: median (smallest to largest round)."
    )
    table = markdown_table(("workload", "figure", BEFORE, AFTER, "after / before, or after - before"), rows)
    return "\n\n".join([head, table, *errors])


if __name__ == "__main__":
    sys.exit(main())
