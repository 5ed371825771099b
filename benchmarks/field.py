"""Table of the field images with their answers before and now: `python -m benchmarks.field --before 55a1de2`.

The service of the older commit runs from a temporary worktree. The images are in `../shared/field/images`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.servers import run_service
from tests.support.field import FieldCase, describe, field_cases
from tests.support.paths import REPOSITORY

Answer = tuple[int, dict[str, Any]]
_TIMEOUT_S = 60


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tree")
        command = ["git", "worktree", "add", "--detach", str(path), commit]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
        try:
            yield path
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(path)], cwd=REPOSITORY, check=True)


def _answers(directory: Path, cases: list[FieldCase]) -> list[Answer]:
    answers = []
    with run_service(directory=directory) as server:
        for case in cases:
            url = f"http://127.0.0.1:{server.port}/predict{case.query}"
            response = httpx2.post(url, content=case.path.read_bytes(), timeout=_TIMEOUT_S)
            answers.append((response.status_code, response.json()))
    return answers


def _cell(case: FieldCase, answer: Answer) -> str:
    return describe(*answer) + ("" if case.is_met(*answer) else " (not as asked)")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="commit of the first column of answers")
    arguments = parser.parse_args()
    cases = list(field_cases())
    with _worktree(arguments.before) as directory:
        before = _answers(directory, cases)
    now = _answers(REPOSITORY, cases)
    print(f"| file | must happen | {arguments.before} | now |\n| --- | --- | --- | --- |")
    for case, old, new in zip(cases, before, now, strict=True):
        print(f"| `{case.path.name}` | {case.wanted} | {_cell(case, old)} | {_cell(case, new)} |")
    for name, answers in ((arguments.before, before), ("now", now)):
        met = sum(case.is_met(*answer) for case, answer in zip(cases, answers, strict=True))
        print(f"\n{name}: {met} of {len(cases)} files are answered as asked.")


if __name__ == "__main__":
    main()
