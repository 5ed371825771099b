"""The benchmark suite: `python -m benchmarks`, or some of its parts: `python -m benchmarks stages memory`.

The figures of every round go to runs/bench/results.json, and the report with its plots to runs/bench/report.md. A part
that runs alone replaces only its own results. `--write-docs` also writes the tables to docs/performance.md and the
plots to docs/images/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import over_http
from benchmarks.cpu_profile import profile
from benchmarks.machine import describe
from benchmarks.over_http import Plan
from benchmarks.plots import PLOTS, draw
from benchmarks.report import replace_sections, sections, write_report
from benchmarks.stages import measure_stages
from benchmarks.workloads import FACES, PHOTOGRAPHS, PORTRAITS, Workload, load_workloads
from tests.support.paths import REPOSITORY, SHARED_DATA

DOCUMENT = REPOSITORY / "docs" / "performance.md"
IMAGES = REPOSITORY / "docs" / "images"
# Rounds of the stages for each round over HTTP: a round of the stages only takes milliseconds.
_STAGE_ROUNDS = 3

Results = dict[str, Any]
Part = Callable[[Results, dict[str, Workload], Plan, Path], object]


def _detection(results: Results, workloads: dict[str, Workload], plan: Plan, data: Path) -> object:
    del results, plan
    return over_http.measure_detection(workloads[PHOTOGRAPHS], data) if PHOTOGRAPHS in workloads else None


def _open(results: Results, workloads: dict[str, Workload], plan: Plan, data: Path) -> object:
    del data
    return over_http.measure_open(workloads[PORTRAITS], plan, over_http.capacity_of(results["closed"], PORTRAITS))


PARTS: dict[str, Part] = {
    "stages": lambda results, workloads, plan, data: measure_stages(workloads, _STAGE_ROUNDS * plan.rounds),
    "closed": lambda results, workloads, plan, data: over_http.measure_closed(workloads, plan),
    "open": _open,
    "detection": _detection,
    "forms": lambda results, workloads, plan, data: over_http.measure_forms(workloads, plan),
    "scaling": lambda results, workloads, plan, data: over_http.measure_scaling(workloads[PORTRAITS], plan),
    "memory": lambda results, workloads, plan, data: over_http.measure_memory(workloads[FACES], plan),
    "profile": lambda results, workloads, plan, data: profile(workloads, max(1, 2 * plan.seconds)),
}


def main() -> int:
    """Measure, write the report and print the targets. The exit status does not depend on the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts",
        nargs="*",
        choices=[*PARTS, "all", "report"],
        default="all",
        help="parts to run (default: all); `report` only writes the report again",
    )
    parser.add_argument("--data", type=Path, default=SHARED_DATA, help="folder with photos/ and fer2013.zip")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "bench")
    parser.add_argument("--quick", action="store_true", help="run everything once and briefly, to show that it works")
    parser.add_argument("--rounds", type=int, help="number of rounds (default: 3; with --quick 1)")
    parser.add_argument("--write-docs", action="store_true", help="write tables and plots to docs/")
    arguments = parser.parse_args()
    parts = list(PARTS) if "all" in arguments.parts else [part for part in arguments.parts if part != "report"]
    path = arguments.out / "results.json"
    results: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() and parts != list(PARTS) else {}
    if parts:
        measure(results, parts, Plan.of(arguments.quick, arguments.rounds), arguments)
        arguments.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report = write_report(results, arguments.out)
    print(f"\n{sections(results)['targets']}\n\n{path}\n{report}")
    if arguments.write_docs:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(replace_sections(document, sections(results)), encoding="utf-8")
        draw(results, IMAGES)
        print(DOCUMENT, *(IMAGES / name for name in PLOTS), sep="\n")
    return 0


def measure(results: Results, parts: list[str], plan: Plan, arguments: argparse.Namespace) -> None:
    """Run the parts and store their figures in the results."""
    started = time.monotonic()
    workloads = load_workloads(arguments.data, plan.photographs)
    if "machine" not in results:
        results |= {
            "machine": describe(),
            "started": time.strftime("%Y-%m-%d"),
            "quick": arguments.quick,
            "rounds": plan.rounds,
            "workloads": {name: workload.title for name, workload in workloads.items()},
        }
    for part in parts:
        print(f"--- {part}, {time.monotonic() - started:.0f} s", flush=True)
        measured = PARTS[part](results, workloads, plan, arguments.data)
        if measured is not None:
            results[part] = measured
    results["wall_s"] = results.get("wall_s", 0) + time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
