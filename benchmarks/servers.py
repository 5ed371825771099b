"""The service and the baseline server as separate processes that a program starts and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.network import free_port
from tests.support.paths import REPOSITORY

SERVICE, BASELINE = "service", "baseline"
# The benchmark measures how long requests wait when 128 clients send at once, so the service must not refuse any, also
# on a slow machine: admission accepts a lasting wait of 15 % of the deadline.
_DEADLINE_MS = 600_000
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 60


@dataclass(frozen=True)
class Server:
    """A running server on 127.0.0.1."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid


@contextmanager
def run_service(
    cores: Sequence[int] | None = None, directory: Path = REPOSITORY, log: Path | None = None
) -> Iterator[Server]:
    """Run the service without load shedding, until the context ends.

    Args:
        cores: Cores that the service may use; None for all.
        directory: Checkout that holds the service.
        log: File for the log of the service; None to discard it.
    """
    settings = {"FER_LOG_FORMAT": "json", "FER_DEADLINE_MS": str(_DEADLINE_MS)}
    with run_server("app", "FER_PORT", settings, cores, directory, log) as server:
        yield server


@contextmanager
def run_baseline() -> Iterator[Server]:
    """Run the baseline server until the context ends."""
    with run_server("benchmarks.baseline.server", "PORT", {}) as server:
        yield server


@contextmanager
def run_server(
    module: str,
    port_variable: str,
    settings: Mapping[str, str],
    cores: Sequence[int] | None = None,
    directory: Path = REPOSITORY,
    log: Path | None = None,
) -> Iterator[Server]:
    """Start a server, wait until it is ready, and stop it when the context ends.

    Args:
        module: Python module that serves on 127.0.0.1 and answers `GET /readyz`.
        port_variable: Environment variable that sets the port.
        settings: Environment variables in addition to those of this process. Those that begin with FER_ are not
            inherited.
        cores: Cores that the server may use; None for all.
        directory: Working directory, from which Python imports the module.
        log: File for the standard error; None to discard it.

    Raises:
        RuntimeError: The server ends or is not ready in time.
    """
    port = free_port()
    removed = ("FER_", "PYTHONPATH", "PYTHONSAFEPATH")  # the module must come from `directory`
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    command = [sys.executable, "-m", module]
    if cores is not None:
        command = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]
    with (log or Path(os.devnull)).open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**inherited, **settings, port_variable: str(port)},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        _wait_until_ready(port, process, log)
        yield Server(port, process)
    finally:
        _stop(process)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path | None) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            reason = "is not ready in time" if process.poll() is None else f"ended with status {process.returncode}"
            raise RuntimeError(f"the server {reason}. {'' if log is None else log.read_text()[-2000:]}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # SIGINT stops the service without the drain
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
