"""Writes what the last runs saw into docs/reliability.md: `python -m stress.report [all] [soak]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from stress.findings import RUNS, read, table

DOCUMENT = Path("docs/reliability.md")
HEADING = "## What was seen\n"
_TITLES = {"all": "`make torture`", "soak": "`python -m stress.soak`"}


def part(name: str) -> str:
    """The table of the run that was kept under a name, with its title."""
    kept = json.loads((RUNS / f"{name}.json").read_text())
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    run = f"{_TITLES[name]}, {kept['minutes']:.0f} minutes, commit `{kept['commit']}`, {machine}"
    return f"{run}:\n\n{table(read(name))}\n"


def replaced(document: str, name: str) -> str:
    """The document with the table of a run in the place of the one that it had, or at its end.

    Others stay: `make torture` soaks for two minutes, which must not replace an hour.
    """
    before, _, section = document.partition(HEADING)
    starts = sorted((section.index(title), other) for other, title in _TITLES.items() if title in section)
    parts, end = {}, len(section)
    for start, other in reversed(starts):
        parts[other], end = section[start:end].strip("\n") + "\n", start
    parts[name] = part(name)
    return "\n".join([f"{before.rstrip(chr(10))}\n", HEADING, *(parts[other] for other in _TITLES if other in parts)])


def main() -> int:
    """Replaces the tables of the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", choices=list(_TITLES), default="all", help="default: %(default)s")
    names = parser.parse_args().runs
    for name in [names] if isinstance(names, str) else names:
        if not (RUNS / f"{name}.json").exists():
            print(f"no run was kept in {RUNS / name}.json", file=sys.stderr)
            return 2
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(), name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
