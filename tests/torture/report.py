"""Writes what the last runs saw into docs/reliability.md: `python -m tests.torture.report`."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from tests.torture.findings import RUNS, read, table

DOCUMENT = Path("docs/reliability.md")
HEADING = "## What was seen\n"
_TITLES = {"all": "`make torture`", "soak": "`python -m tests.torture.soak`"}


def section() -> str:
    """The tables of the runs that were kept."""
    parts = [HEADING]
    for name, title in _TITLES.items():
        path = RUNS / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text())
            machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
            run = f"{title}, {kept['minutes']:.0f} minutes, commit `{kept['commit']}`, {machine}"
            parts.append(f"{run}:\n\n{table(read(name))}\n")
    return "\n".join(parts)


def main() -> int:
    """Replaces the document's last section, or adds it."""
    if not any((RUNS / f"{name}.json").exists() for name in _TITLES):
        print(f"no run was kept in {RUNS}", file=sys.stderr)
        return 2
    before = DOCUMENT.read_text().partition(HEADING)[0].rstrip("\n")
    DOCUMENT.write_text(f"{before}\n\n{section()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
