"""The service as a separate process whose memory, threads, open files and metrics a program reads."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.servers import run_server
from tests.support.paths import REPOSITORY

# Options of the command `uvicorn` as environment variables.
_UVICORN = {
    "UVICORN_APP": "app.main:create_app_from_env",
    "UVICORN_FACTORY": "true",
    "UVICORN_ACCESS_LOG": "false",
}


@dataclass(frozen=True)
class ServiceProcess:
    """A running service.

    Attributes:
        port: Port on 127.0.0.1.
        process: The process.
        cores: Number of cores that it may use.
    """

    port: int
    process: subprocess.Popen[bytes]
    cores: int

    @property
    def memory_mb(self) -> float:
        """Resident memory in MB."""
        return self._status("VmRSS") / 1024

    @property
    def threads(self) -> int:
        """Number of threads."""
        return int(self._status("Threads"))

    @property
    def open_files(self) -> list[str]:
        """Targets of the open file descriptors."""
        targets = []
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                targets.append(str(entry.readlink()))
            except OSError:  # the service has closed the file in the meantime
                continue
        return targets

    def reset_peak_memory(self) -> None:
        """Start a new measurement of `peak_memory_mb`."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def peak_memory_mb(self) -> float:
        """Largest resident memory since `reset_peak_memory`, in MB."""
        return self._status("VmHWM") / 1024

    def metric(self, name: str) -> float:
        """Return the sum of all samples of `/metrics` whose line begins with a name."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def _status(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        assert found, f"/proc has no {name}"
        return float(found[1])


def split_cores() -> tuple[set[int], set[int]]:
    """Return the cores for the service and the cores for the load generator.

    The load generator gets the last core and the service gets the others. A single core is shared.
    """
    cores = sorted(os.sched_getaffinity(0))
    return (set(cores[:-1]), {cores[-1]}) if len(cores) > 1 else (set(cores), set(cores))


@contextmanager
def load_generator_on(cores: set[int]) -> Iterator[None]:
    """Keep the calling thread on some cores until the context ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def run_service_process(
    log: Path,
    cores: set[int] | None = None,
    directory: Path = REPOSITORY,
    limit_concurrency: int | None = None,
    **settings: str,
) -> Iterator[ServiceProcess]:
    """Run the service until the context ends.

    Args:
        log: File for its standard error.
        cores: Cores that it may use; None for all.
        directory: Checkout that holds the service.
        limit_concurrency: Run the application factory under `uvicorn --limit-concurrency`; None for `python -m app`.
        settings: FER_ variables in addition to the defaults.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    settings = {"FER_LOG_FORMAT": "json", "FER_DEVICE": "cpu"} | settings
    module, port_variable = "app", "FER_PORT"
    if limit_concurrency is not None:
        module, port_variable = "uvicorn", "UVICORN_PORT"
        settings |= _UVICORN | {"UVICORN_LIMIT_CONCURRENCY": str(limit_concurrency)}
    chosen = None if cores is None else sorted(cores)
    with run_server(module, port_variable, settings, chosen, directory, log) as server:
        yield ServiceProcess(server.port, server.process, len(cores or os.sched_getaffinity(0)))
