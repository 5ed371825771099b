"""`python -m app` as a process, with the shipped model."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import httpx2

from tests.support.network import free_port
from tests.support.paths import REPOSITORY


def service_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a service process: no FER_ variables of this machine, but the given settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FER_")}
    # A long deadline, so that a busy machine changes no response. Tests of deadlines set their own.
    return inherited | {"FER_LOG_FORMAT": "json", "FER_DEVICE": "cpu", "FER_DEADLINE_MS": "60000"} | settings


@contextmanager
def service_process(
    program: str | None = None, stderr: int | TextIO = subprocess.PIPE, **settings: str
) -> Iterator[tuple[httpx2.Client, subprocess.Popen[str]]]:
    """Start the service, wait until it is ready, and kill it at the exit.

    Args:
        program: Python program to run instead of `python -m app`.
        stderr: Standard error of the process.
        settings: Environment variables.

    Yields:
        A client of the service, and the process.
    """
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *(["-m", "app"] if program is None else ["-c", program])],
        cwd=REPOSITORY,
        env=service_environment(FER_PORT=str(port), **settings),
        stderr=stderr,
        text=True,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            _wait_until_ready(client, process)
            yield client, process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _wait_until_ready(client: httpx2.Client, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end, "the service was not ready within 60 s"
        with suppress(httpx2.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.1)
