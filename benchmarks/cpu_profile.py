"""Share of the CPU time by part of the program: py-spy samples the threads of the service while one client sends.

With one client no thread waits for a core. A thread that is ready to run but waits counts as running for the sampler,
so more clients would distort the shares.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks import load_generator
from benchmarks.measurement import Job
from benchmarks.over_http import requests_of, temporary_files
from benchmarks.servers import run_service
from benchmarks.workloads import Workload

_SAMPLES_PER_SECOND = 200

# Parts of the program with text that occurs in the frames of a stack. A sample belongs to the first part that matches
# the innermost frame that matches any part.
_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("decode", ("app/vision/decode",)),
    ("detect", ("app/vision/detection/",)),
    ("crop", ("app/contract/preprocess.py",)),
    ("classify", ("app/inference/session.py",)),
    ("batcher", ("app/inference/batcher.py",)),
    ("request parsing", ("app/api/parsing/", "python_multipart", "starlette/formparsers.py")),
    ("JSON response", ("app/api/schemas", "serialize_response", "responses.py", "pydantic")),
    ("log line", ("logging/__init__.py", "app/observability/logging.py", "pythonjsonlogger")),
    ("metrics", ("prometheus_client",)),
    ("engine", ("app/engine/", "app/contract/scores.py")),
    ("middleware, admission", ("app/api/",)),
    ("FastAPI, Starlette", ("fastapi/", "starlette/")),
    ("hand-over between threads", ("concurrent/futures/", "threading.py")),
    ("uvicorn, sockets", ("uvicorn/", "uvloop", "asyncio/")),
)
OTHER = "other"
# Innermost frames of threads that wait for work, for another thread or for sockets. The sampler cannot always detect
# that such a thread sleeps. `Runner.run` is also the frame of uvloop's own work, which is therefore not counted.
_WAITING = ("_worker (", "Condition.wait (", "Runner.run (")


def profile(workloads: Mapping[str, Workload], seconds: float) -> dict[str, dict[str, float]]:
    """Return the share of the CPU time by workload and part of the program, with one client."""
    return {name: _profile_workload(workload, seconds) for name, workload in workloads.items()}


def _profile_workload(workload: Workload, seconds: float) -> dict[str, float]:
    with (
        run_service() as service,
        temporary_files(requests_of(workload)) as requests,
        tempfile.TemporaryDirectory(prefix="fer-bench-") as folder,
    ):
        stacks = Path(folder, "stacks")
        job = Job(service.port, service.pid, requests, clients=1, warm_up_s=0, seconds=seconds + 2)
        sender = threading.Thread(target=load_generator.run_job, args=(job,))
        sender.start()
        subprocess.run(
            [
                *(str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(service.pid)),
                *("--duration", str(max(1, round(seconds))), "--rate", str(_SAMPLES_PER_SECOND)),
                *("--format", "raw", "--full-filenames", "--output", str(stacks)),
            ],
            check=True,
            capture_output=True,
        )
        sender.join()
        shares = shares_of(stacks.read_text(encoding="utf-8").splitlines())
    print(workload.name, ", ".join(f"{part} {share:.1%}" for part, share in shares.items()), flush=True)
    return shares


def shares_of(folded: Iterable[str]) -> dict[str, float]:
    """Return the share of the samples by part of the program, without threads that wait.

    Args:
        folded: Lines in the form `outermost;...;innermost count`.
    """
    counted: Counter[str] = Counter()
    for line in folded:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not frames[-1].startswith(_WAITING):
            counted[_part_of(frames)] += int(count)
    total = sum(counted.values())
    return {name: counted[name] / total for name in (*(part for part, _ in _PARTS), OTHER) if counted[name]}


def _part_of(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, patterns in _PARTS:
            if any(pattern in frame for pattern in patterns):
                return name
    return OTHER
