"""All of it, bounded: `make torture`, or `python -m stress`. One table at the end; 1 where anything broke.

Each part is a program or a set of tests of its own, and can be run alone: see docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time

from stress.findings import RUNS, Finding, conclude, read

MUTATIONS = 100_000

# What is run, as pytest's arguments, by promise.
SUITES = {
    "spoiled files and requests get a code, never a 5xx": (
        "tests/unit/vision/test_decode_mutations.py",
        "tests/api/test_mutations.py",
    ),
    "faults hurt no neighbour, and readiness tells": (
        "tests/api/test_faults.py",
        "tests/api/test_reload.py",
        "tests/unit/test_watchdog.py",
        "tests/unit/inference",
        "tests/e2e/test_process.py",
    ),
    "clients that leave are dropped, refusals are right": (
        "tests/api/test_disconnect.py",
        "tests/api/test_overload.py",
        "tests/unit/test_lanes.py",
    ),
    "the same crop gets the same bits in every batch": ("tests/unit/inference/test_determinism.py",),
    "nothing is written, nothing secret is logged": ("tests/e2e/test_secrecy.py",),
}
PROGRAMS = {
    "schema": ("--examples", "100"),
    "badinput": (),
    "overload": ("--seconds", "10"),
    "soak": ("--minutes", "2"),
}


def run_suite(promise: str, paths: tuple[str, ...]) -> Finding:
    """Runs tests; what failed is what broke."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "auto", *paths],
        env=os.environ | {"FER_TEST_MUTATIONS": str(MUTATIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    count = re.search(r"(\d+) passed", ended.stdout)
    skipped = re.search(r"(\d+) skipped", ended.stdout)
    finding = Finding(promise, f"{count[1] if count else 0} tests")
    if "mutations" in paths[0]:
        finding.tried = f"{MUTATIONS} files, {MUTATIONS // 8 * 6} requests"
    finding.seen = f"{skipped[1]} skipped" if skipped else "all passed" if ended.returncode == 0 else ""
    finding.broke = re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    finding.expect(ended.returncode == 0 or bool(finding.broke), f"pytest ended with {ended.returncode}")
    return finding


def run_program(name: str, arguments: tuple[str, ...]) -> list[Finding]:
    """Runs a program of this folder."""
    (RUNS / f"{name}.json").unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", f"stress.{name}", *arguments], check=False)
    return read(name)


def main() -> int:
    """Runs everything."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    began, findings = time.monotonic(), []
    RUNS.mkdir(parents=True, exist_ok=True)
    for name, arguments in PROGRAMS.items():
        print(f"\n{name}", flush=True)
        findings += run_program(name, arguments)
    for promise, paths in SUITES.items():
        print(f"\n{promise}", flush=True)
        findings.append(run_suite(promise, paths))
    minutes = (time.monotonic() - began) / 60
    print(f"\nEverything, in {minutes:.1f} minutes\n")
    return conclude("all", findings, minutes=minutes)


if __name__ == "__main__":
    sys.exit(main())
