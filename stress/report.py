"""Write the results of the last runs to docs/reliability.md: `python -m stress.report [all] [soak]`."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.machine import describe
from stress.checks import RUNS, read, table
from tests.support.paths import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "reliability.md"
HEADING = "## Results\n"
_TITLES = {"all": "`make stress`", "soak": "`python -m stress.soak`"}


def section(name: str) -> str:
    """Return the title and the table of a run."""
    stored = json.loads((RUNS / f"{name}.json").read_text())
    machine = describe()
    where = f"{machine['cpu']} ({machine['cpu_kind']}), {machine['cores']} cores, Python {machine['python']}"
    title = f"{_TITLES[name]}, {stored['minutes']:.0f} minutes, commit `{stored['commit']}`, {where}"
    return f"{title}:\n\n{table(read(name))}\n"


def replace_section(document: str, name: str) -> str:
    """Return the document with the new table of a run, in place of its old one or at the end.

    The table of the other run stays: `make stress` includes a soak of two minutes, which must not replace an hour.
    """
    before, _, results = document.partition(HEADING)
    starts = sorted((results.index(title), run) for run, title in _TITLES.items() if title in results)
    sections, end = {}, len(results)
    for start, run in reversed(starts):
        sections[run], end = results[start:end].strip("\n") + "\n", start
    sections[name] = section(name)
    return "\n".join([f"{before.rstrip(chr(10))}\n", HEADING, *(sections[run] for run in _TITLES if run in sections)])


def main() -> int:
    """Replace the tables of the named runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", choices=list(_TITLES), default="all", help="default: %(default)s")
    names = parser.parse_args().runs
    for name in [names] if isinstance(names, str) else names:
        if not (RUNS / f"{name}.json").exists():
            print(f"there is no result in {RUNS / name}.json", file=sys.stderr)
            return 2
        DOCUMENT.write_text(replace_section(DOCUMENT.read_text(), name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
