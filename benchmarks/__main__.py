"""The benchmark suite: `python -m benchmarks`, or one of its parts by name.

Everything of one run is written to runs/bench/results.json, as windows and rounds with their own figures, and from it
report.md with its plots. A part that is run alone replaces its own results there. `--write-docs` puts the tables into
docs/performance.md and the plots into docs/images/.
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
from benchmarks.machine import describe
from benchmarks.over_http import Plan
from benchmarks.profile import profile
from benchmarks.report import PLOTS, draw, place_in_document, sections, write_report
from benchmarks.stages import measure_stages
from benchmarks.workloads import FACES, PHOTOGRAPHS, PORTRAITS, Workload, load_workloads
from tests.support.paths import REPOSITORY, SHARED_DATA

DOCUMENT = REPOSITORY / "docs" / "performance.md"
IMAGES = REPOSITORY / "docs" / "images"
# Rounds of the single stages for each round over HTTP: they take milliseconds.
_STAGE_ROUNDS = 3

Results = dict[str, Any]
Part = Callable[[Results, dict[str, Workload], Plan, Path], object]


def _detection(results: Results, workloads: dict[str, Workload], plan: Plan, data: Path) -> object:
    return over_http.measure_detection(workloads[PHOTOGRAPHS], data) if PHOTOGRAPHS in workloads else None


def _open(results: Results, workloads: dict[str, Workload], plan: Plan, data: Path) -> object:
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
    """Measures, writes, prints the promises; the status is 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "all", "report"], default="all", help="report: only writes it anew"
    )
    parser.add_argument("--data", type=Path, default=SHARED_DATA)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "bench")
    parser.add_argument("--quick", action="store_true", help="everything once and briefly: shows that it works")
    parser.add_argument("--rounds", type=int, help="3 unless told; the spread is theirs")
    parser.add_argument("--write-docs", action="store_true", help="put tables and plots into docs/")
    arguments = parser.parse_args()
    parts = list(PARTS) if "all" in arguments.parts else [part for part in arguments.parts if part != "report"]
    path = arguments.out / "results.json"
    results: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() and parts != list(PARTS) else {}
    if parts:
        measure(results, parts, Plan.of(arguments.quick, arguments.rounds), arguments)
        arguments.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report = write_report(results, arguments.out)
    print(f"\n{sections(results)['promises']}\n\n{path}\n{report}")
    if arguments.write_docs:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(place_in_document(document, sections(results)), encoding="utf-8")
        draw(results, IMAGES)
        print(DOCUMENT, *(IMAGES / name for name in PLOTS), sep="\n")
    return 0


def measure(results: Results, parts: list[str], plan: Plan, arguments: argparse.Namespace) -> None:
    """Runs the parts and puts what they measured into the results."""
    began = time.monotonic()
    workloads = load_workloads(arguments.data, plan.photographs)
    if "machine" not in results:
        results |= {
            "machine": describe(),
            "started": time.strftime("%Y-%m-%d"),
            "quick": arguments.quick,
            "rounds": plan.rounds,
            "workloads": {name: workload.about for name, workload in workloads.items()},
        }
    for part in parts:
        print(f"--- {part}, {time.monotonic() - began:.0f} s", flush=True)
        measured = PARTS[part](results, workloads, plan, arguments.data)
        if measured is not None:
            results[part] = measured
    results["wall_s"] = results.get("wall_s", 0) + time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
