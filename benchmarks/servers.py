"""The service and the baseline as processes of their own, started for a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx2

from tests.e2e.test_process import free_port
from tests.support.paths import REPOSITORY

SERVICE, BASELINE = "service", "baseline"
# Nothing is to be refused: what a queue of 128 costs is measured, not avoided.
_DEADLINE_MS = 120_000
_START_S = 60


@dataclass(frozen=True)
class Server:
    """A server at work."""

    name: str
    port: int
    pid: int


@contextmanager
def running(name: str, cores: Sequence[int] | None = None) -> Iterator[Server]:
    """Starts a server, waits until it is ready, and ends it.

    Args:
        name: `SERVICE` or `BASELINE`.
        cores: Those that it may use; None for all.
    """
    port = free_port()
    module, settings = {
        SERVICE: ("app", {"FER_PORT": str(port), "FER_LOG_FORMAT": "json", "FER_DEADLINE_MS": str(_DEADLINE_MS)}),
        BASELINE: ("benchmarks.baseline.server", {"PORT": str(port)}),
    }[name]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("FER_")}
    pin = [] if cores is None else ["taskset", "--cpu-list", ",".join(map(str, cores))]
    started = subprocess.Popen(
        [*pin, sys.executable, "-m", module],
        cwd=REPOSITORY,
        env=inherited | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # every request is logged, as in operation, and nobody reads it
    )
    try:
        _wait_until_ready(started, port)
        yield Server(name, port, started.pid)
    finally:
        started.kill()
        started.wait()


def _wait_until_ready(started: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_S
    while True:
        if started.poll() is not None:
            raise RuntimeError(f"the server ended with status {started.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"the server was not ready within {_START_S} s")
        with suppress(httpx2.TransportError):
            if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        time.sleep(0.1)
