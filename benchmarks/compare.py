"""Compare two checkouts of the service: `python -m benchmarks.compare --before DIR --after DIR`.

Both checkouts are measured in every round, right after each other, and the first one changes from round to round, so
that changes of the machine's speed affect both. A round starts each service twice: with all cores for the closed loop,
and with all cores but the last one, which the load generator uses, for ten times the peak load. Each service runs as
`python -m app` with its checkout as working directory and with this Python.

The program prints a Markdown table and writes all figures to runs/bench/compare.json. It takes about five minutes, and
one to two minutes with `--quick`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.comparison import AFTER, BEFORE, CLIENTS, OVERLOAD_SUFFIX, Results, report
from benchmarks.machine import commit, describe
from benchmarks.over_http import MIN_REQUESTS, Plan, describe_window, measure_window, requests_of, temporary_files
from benchmarks.servers import run_service
from benchmarks.workloads import FACES, PHOTOGRAPHS, PORTRAITS, Workload, load_workloads
from stress import workloads as stress_workloads
from stress.client import Client
from stress.goodput import measure_overload, measure_peak
from stress.service_process import ServiceProcess, load_generator_on, run_service_process, split_cores
from tests.support.paths import REPOSITORY, SHARED_DATA

WORKLOADS = (PORTRAITS, PHOTOGRAPHS, FACES)
OVERLOADS = (stress_workloads.PORTRAITS, stress_workloads.PHOTOGRAPHS)

# Stores the figures of a side and a workload, and prints a line.
Keep = Callable[[str, str, dict[str, float], str], None]


def parse_arguments() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the old service")
    parser.add_argument("--after", type=Path, required=True, help="checkout of the new service")
    parser.add_argument("--rounds", type=int, default=4, help="default: %(default)s; with --quick 2")
    parser.add_argument("--seconds", type=float, default=3.5, help="length of a window; default: %(default)s")
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--overloads", nargs="*", choices=OVERLOADS, default=list(OVERLOADS))
    parser.add_argument(
        "--after-limit",
        type=int,
        help="overload only: run the new service under uvicorn with this --limit-concurrency",
    )
    parser.add_argument("--quick", action="store_true", help="two rounds with short windows")
    parser.add_argument("--data", type=Path, default=SHARED_DATA, help="folder with photos/; default: %(default)s")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "bench" / "compare.json")
    arguments = parser.parse_args()
    for directory in (arguments.before, arguments.after):
        if not (directory / "app" / "__main__.py").is_file():
            parser.error(f"expected a checkout of the service with app/__main__.py. Received: {directory}")
    return arguments


def main() -> int:
    """Measure both checkouts and print the table."""
    arguments = parse_arguments()
    directories = {BEFORE: arguments.before.resolve(), AFTER: arguments.after.resolve()}
    rounds, seconds = (2, 0.8) if arguments.quick else (arguments.rounds, arguments.seconds)
    plan = Plan(rounds, seconds, warm_up_s=min(1.0, seconds), memory_requests=0)
    available = load_workloads(arguments.data, only=arguments.workloads)
    for name in set(arguments.workloads) - set(available):
        print(f"no {name}: {arguments.data} does not have their files", file=sys.stderr)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    limits = {BEFORE: None, AFTER: arguments.after_limit}
    results = measure(directories, available, arguments.overloads, plan, arguments.out.parent, limits)
    details = {
        "after_limit": arguments.after_limit,
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
    limits: Mapping[str, int | None],
) -> Results:
    """Measure both checkouts in alternating order.

    Args:
        directories: Checkout by side.
        workloads: Workloads of the closed loop.
        overloads: Names of the workloads that are sent at ten times the peak load.
        plan: Rounds and times.
        logs: Folder for the logs of the services.
        limits: Concurrency limit of each service under overload; None for no limit.
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
            measure_overloads(order, overloads, plan, logs, keep, limits)
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
    directories: Mapping[str, Path],
    names: Collection[str],
    plan: Plan,
    logs: Path,
    keep: Keep,
    limits: Mapping[str, int | None],
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
                run_service_process(logs / f"compare-{side}-overload.log", service_cores, directory, limits[side])
            )
            for side, directory in directories.items()
        }
        for name in names:
            for side, server in servers.items():
                figures = asyncio.run(run(server, workloads[name].request))
                line = f"goodput {figures['goodput_share']:.0%} of {figures['peak_per_s']:.1f}/s"
                keep(side, f"{name}{OVERLOAD_SUFFIX}", figures, line)


if __name__ == "__main__":
    sys.exit(main())
