"""What an attempt to break the service came to: one row of the table that `make torture` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.machine import commit

RUNS = Path("runs/torture")


@dataclass
class Finding:
    """One promise and the attempt to break it.

    Attributes:
        promise: What must hold.
        tried: How many times, with what.
        broke: A sentence for everything that broke it; empty where it held.
        seen: The figures, for the table.
    """

    promise: str
    tried: str
    seen: str = ""
    broke: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes what broke where something does not hold."""
        if not holds:
            self.broke.append(otherwise)


def table(findings: Sequence[Finding]) -> str:
    """The findings in Markdown."""
    rows = [
        f"| {finding.promise} | {finding.tried} | {finding.seen} | {'; '.join(finding.broke) or 'nothing'} |"
        for finding in findings
    ]
    return "\n".join(["| promise | tried | seen | broke |", "| --- | --- | --- | --- |", *rows])


def conclude(name: str, findings: Sequence[Finding], **figures: object) -> int:
    """Prints the table, keeps it and the figures in `runs/torture/NAME.json`; 1 where anything broke."""
    RUNS.mkdir(parents=True, exist_ok=True)
    document = {"commit": commit(), "findings": [asdict(finding) for finding in findings], **figures}
    (RUNS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(table(findings))
    return int(any(finding.broke for finding in findings))


def read(name: str) -> list[Finding]:
    """The findings that a program kept; one that says so where it kept none."""
    path = RUNS / f"{name}.json"
    if not path.exists():
        return [Finding(name, "", broke=["it did not get to its end"])]
    return [Finding(**entry) for entry in json.loads(path.read_text())["findings"]]
