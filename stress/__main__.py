"""All stress tests in their bounded versions: `make stress`, or `python -m stress`.

Prints one table at the end. The exit status is 1 if a guarantee was violated. Each program and each set of tests can
also run alone: see docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time

from stress.checks import RUNS, Check, conclude, read
from tests.support.paths import REPOSITORY

MUTATIONS = 100_000

# Paths of tests by guarantee.
SUITES = {
    "mutated files and requests get an error code, never a 5xx": (
        "tests/unit/vision/decode/test_mutations.py",
        "tests/api/test_mutations.py",
    ),
    "a fault affects no other request, and readiness shows it": (
        "tests/api/test_faults.py",
        "tests/api/test_reload.py",
        "tests/unit/engine/test_watchdog.py",
        "tests/unit/inference",
        "tests/e2e/test_process.py",
        "tests/e2e/test_shutdown.py",
        "tests/e2e/test_start_errors.py",
        "tests/e2e/test_model_files.py",
    ),
    "abandoned requests are dropped, refusals are correct": (
        "tests/api/test_disconnect.py",
        "tests/api/test_overload.py",
        "tests/unit/engine/test_scheduler.py",
    ),
    "the same crop gets the same bits in every batch": ("tests/unit/inference/test_determinism.py",),
    "nothing is written to disk, no secret is logged": ("tests/e2e/test_secrecy.py",),
}
PROGRAMS = {
    "schema": ("--examples", "100"),
    "bad_input": (),
    "overload": ("--seconds", "10"),
    "soak": ("--minutes", "2"),
}


def run_suite(guarantee: str, paths: tuple[str, ...]) -> Check:
    """Run tests. Each failed test is a violation."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "auto", *paths],
        cwd=REPOSITORY,
        env=os.environ | {"FER_TEST_MUTATIONS": str(MUTATIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", ended.stdout)
    skipped = re.search(r"(\d+) skipped", ended.stdout)
    check = Check(guarantee, f"{passed[1] if passed else 0} tests")
    if "mutations" in paths[0]:
        check.attempt = f"{MUTATIONS} files, {MUTATIONS // 8 * 6} requests"
    check.observed = f"{skipped[1]} skipped" if skipped else "all passed" if ended.returncode == 0 else ""
    check.violations = re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    check.expect(ended.returncode == 0 or bool(check.violations), f"pytest ended with status {ended.returncode}")
    return check


def run_program(name: str, arguments: tuple[str, ...]) -> list[Check]:
    """Run a program of this package."""
    (RUNS / f"{name}.json").unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", f"stress.{name}", *arguments], cwd=REPOSITORY, check=False)
    return read(name)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    started = time.monotonic()
    checks: list[Check] = []
    RUNS.mkdir(parents=True, exist_ok=True)
    for name, arguments in PROGRAMS.items():
        print(f"\n{name}", flush=True)
        checks += run_program(name, arguments)
    for guarantee, paths in SUITES.items():
        print(f"\n{guarantee}", flush=True)
        checks.append(run_suite(guarantee, paths))
    minutes = (time.monotonic() - started) / 60
    print(f"\nAll stress tests, {minutes:.1f} minutes\n")
    return conclude("all", checks, minutes=minutes)


if __name__ == "__main__":
    sys.exit(main())
