"""Where processor time goes, by workload: py-spy samples every thread of the service while one client asks.

One, because the sampler counts a thread that is ready to run as running: where threads wait for a core, it would count
them where they woke up.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks import load
from benchmarks.over_http import requests_of, written
from benchmarks.servers import SERVICE, running
from benchmarks.workloads import Workload

_SAMPLES_A_SECOND = 200

# The first that a sample's stack has, read from the innermost frame outwards, is the place where its time went.
_PLACES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("decode", ("app/vision/decode.py",)),
    ("detect", ("app/vision/detection/detector.py",)),
    ("crop", ("app/contract/preprocess.py",)),
    ("classify", ("app/inference/session.py",)),
    ("batcher", ("app/inference/batcher.py",)),
    ("multipart, base64, body", ("app/api/forms.py", "app/api/images.py", "python_multipart")),
    ("answer as JSON", ("app/api/schemas.py", "serialize_response", "responses.py", "pydantic")),
    ("log line", ("logging/__init__.py", "app/observability/logging.py", "pythonjsonlogger")),
    ("metrics", ("prometheus_client",)),
    ("pipeline", ("app/engine/pipeline.py", "app/contract/scores.py")),
    ("middleware, guards", ("app/api/",)),
    ("FastAPI, Starlette", ("fastapi/", "starlette/")),
    ("handing over between threads", ("concurrent/futures/", "threading.py")),
    ("uvicorn, sockets", ("uvicorn/", "uvloop", "asyncio/")),
)
OTHER = "other"
# Where a thread waits, as its innermost frame: for work, for another thread, for the sockets (uvloop's own time is here
# too, and is not seen). The sampler cannot always tell that such a thread sleeps.
_WAITING = ("_worker (", "Condition.wait (", "Runner.run (")


def profile(workloads: Mapping[str, Workload], seconds: float) -> dict[str, dict[str, float]]:
    """Shares of processor time by place, for each workload, with one client."""
    return {name: _profile_one(workload, seconds) for name, workload in workloads.items()}


def _profile_one(workload: Workload, seconds: float) -> dict[str, float]:
    with (
        running(SERVICE) as service,
        written(requests_of(workload)) as requests,
        tempfile.TemporaryDirectory(prefix="fer-bench-") as folder,
    ):
        out = Path(folder, "stacks")
        job = load.Job(service.port, service.pid, requests, clients=1, warm_up_s=0, seconds=seconds + 2)
        sender = threading.Thread(target=load.run_job, args=(job,))
        sender.start()
        subprocess.run(
            [
                *(str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(service.pid)),
                *("--duration", str(max(1, round(seconds))), "--rate", str(_SAMPLES_A_SECOND)),
                *("--format", "raw", "--full-filenames", "--output", str(out)),
            ],
            check=True,
            capture_output=True,
        )
        sender.join()
        shares = shares_of(out.read_text(encoding="utf-8").splitlines())
    print(workload.name, ", ".join(f"{place} {share:.1%}" for place, share in shares.items()), flush=True)
    return shares


def shares_of(folded: Iterable[str]) -> dict[str, float]:
    """Shares of samples by place, in the order of the places; threads that wait are left out.

    Args:
        folded: Lines of `outermost;...;innermost number`.
    """
    counted: Counter[str] = Counter()
    for line in folded:
        stack, _, number = line.rpartition(" ")
        frames = stack.split(";")
        if not frames[-1].startswith(_WAITING):
            counted[_place(frames)] += int(number)
    total = sum(counted.values())
    return {name: counted[name] / total for name in (*(place for place, _ in _PLACES), OTHER) if counted[name]}


def _place(stack: list[str]) -> str:
    for frame in reversed(stack):
        for name, signs in _PLACES:
            if any(sign in frame for sign in signs):
                return name
    return OTHER
