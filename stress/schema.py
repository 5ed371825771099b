"""Requests made from the OpenAPI document, by schemathesis: `python -m stress.schema`.

Against the real service in a process of its own, without the page, which is no part of the document. Every answer must
be one that the document names, in its form; none may be a 5xx. Two of its checks do not fit: random bytes for a picture
are a request that the document allows and the service refuses; and in a batch, an entry that is no string fails alone,
in an answer of status 200.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

from stress.findings import RUNS, Finding, conclude
from stress.process import running

EXCLUDED_CHECKS = "positive_data_acceptance,negative_data_rejection"


def main() -> int:
    """Prints and keeps the findings; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    finding = Finding("what the OpenAPI document says is so", "")
    with running(RUNS / "schema.log", FER_DEADLINE_MS="30000", FER_WEB="false") as service:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{service.port}/openapi.json"),
                *(
                    "--exclude-checks",
                    EXCLUDED_CHECKS,
                    "--max-examples",
                    str(arguments.examples),
                    "--seed",
                    str(arguments.seed),
                ),
                *("--phases", "examples,coverage,fuzzing", "--no-color", "--continue-on-failure"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "stress.schema_hooks"},
        )
    (RUNS / "schema.txt").write_text(ended.stdout + ended.stderr)
    cases = re.search(r"(\d+) generated", ended.stdout)
    finding.tried = f"{cases[1] if cases else 'unknown'} requests made from the document"
    finding.seen = "every answer as documented, no 5xx" if ended.returncode == 0 else "see runs/torture/schema.txt"
    finding.expect(ended.returncode == 0, f"schemathesis ended with {ended.returncode}")
    return conclude("schema", [finding])


if __name__ == "__main__":
    sys.exit(main())
