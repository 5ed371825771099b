"""Requests that schemathesis makes from the OpenAPI document: `python -m stress.schema`.

The service runs in a separate process without the web page, which the document does not contain. Every response must be
documented, in the documented form, and none may be a 5xx. Two checks of schemathesis do not apply: the document allows
random bytes as an image, which the service refuses; and an entry of a batch that is not a string fails alone, in a
response with status 200.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

from stress.checks import RUNS, Check, conclude
from stress.service_process import run_service_process

EXCLUDED_CHECKS = "positive_data_acceptance,negative_data_rejection"


def main() -> int:
    """Print and store the check. Return 1 if a guarantee was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="per operation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with run_service_process(RUNS / "schema.log", FER_DEADLINE_MS="30000", FER_WEB="false") as service:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{service.port}/openapi.json"]
        command += ["--exclude-checks", EXCLUDED_CHECKS, "--phases", "examples,coverage,fuzzing"]
        command += ["--max-examples", str(arguments.examples), "--seed", str(arguments.seed)]
        ended = subprocess.run(
            [*command, "--no-color", "--continue-on-failure"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "stress.schema_hooks"},
        )
    (RUNS / "schema.txt").write_text(ended.stdout + ended.stderr)
    cases = re.search(r"(\d+) generated", ended.stdout)
    check = Check("every response is as the OpenAPI document says", f"{cases[1] if cases else 'no'} generated requests")
    check.observed = "every response documented, no 5xx" if ended.returncode == 0 else "see runs/stress/schema.txt"
    check.expect(ended.returncode == 0, f"schemathesis ended with status {ended.returncode}")
    return conclude("schema", [check])


if __name__ == "__main__":
    sys.exit(main())
