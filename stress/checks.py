"""Results of the stress tests: one check per guarantee, which is one row of the table that `make stress` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from benchmarks.machine import commit
from tests.support.paths import REPOSITORY

RUNS = REPOSITORY / "runs" / "stress"


@dataclass
class Check:
    """A guarantee and the attempt to violate it.

    Attributes:
        guarantee: What must hold.
        attempt: Number and kind of requests.
        observed: Figures for the table.
        violations: One sentence for each violation; empty if the guarantee held.
    """

    guarantee: str
    attempt: str
    observed: str = ""
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, violation: str) -> None:
        """Add a violation if a condition does not hold."""
        if not holds:
            self.violations.append(violation)


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a Markdown table."""
    rows = [
        f"| {check.guarantee} | {check.attempt} | {check.observed} | {'; '.join(check.violations) or 'none'} |"
        for check in checks
    ]
    return "\n".join(["| guarantee | attempt | observed | violations |", "| --- | --- | --- | --- |", *rows])


def conclude(name: str, checks: Sequence[Check], **figures: object) -> int:
    """Print the table and write it with the figures to `runs/stress/NAME.json`.

    Returns:
        The exit status: 1 if a guarantee was violated.
    """
    RUNS.mkdir(parents=True, exist_ok=True)
    document = {"commit": commit(), "checks": [asdict(check) for check in checks], **figures}
    (RUNS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(table(checks))
    return int(any(check.violations for check in checks))


def read(name: str) -> list[Check]:
    """Return the checks that a program has written, or one violated check if it has written none."""
    path = RUNS / f"{name}.json"
    if not path.exists():
        return [Check(name, "", violations=["the program did not end normally"])]
    return [Check(**entry) for entry in json.loads(path.read_text())["checks"]]
