"""The service as a process of its own, kept to some cores where there are enough for it and its callers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

_READY_WITHIN_S = 120
_END_WITHIN_S = 60


@dataclass(frozen=True)
class ServiceProcess:
    """A running service.

    Attributes:
        port: On 127.0.0.1.
        process: The process.
        log: Its standard error.
        cores: That it may use.
    """

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    cores: int

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        return self._status("VmRSS") / 1024

    @property
    def threads(self) -> int:
        """Threads, of whatever kind."""
        return int(self._status("Threads"))

    @property
    def descriptors(self) -> list[str]:
        """What the open files are."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        targets = []
        for entry in folder.iterdir():
            try:
                targets.append(str(entry.readlink()))
            except OSError:  # closed since
                continue
        return targets

    def forget_peak(self) -> None:
        """Begins a new measurement of `peak_mb`."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def peak_mb(self) -> float:
        """The most resident memory since `forget_peak`."""
        return self._status("VmHWM") / 1024

    def metric(self, name: str) -> float:
        """The sum of a metric over those of its labels whose line begins with the name."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def _status(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        assert found, f"/proc has no {name}"
        return float(found[1])


def split_cores() -> tuple[set[int], set[int]]:
    """Cores for the service and for its callers: the last one for callers, or all for both where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return (set(cores[:-1]), {cores[-1]}) if len(cores) > 1 else (set(cores), set(cores))


@contextmanager
def running(log: Path, cores: set[int] | None = None, **settings: str) -> Iterator[ServiceProcess]:
    """The service, ready; told to end afterwards, and killed where it does not.

    Args:
        log: Where its standard error goes.
        cores: That it may use; None for all.
        settings: FER_ variables beside the defaults.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FER_")}
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "app"]
    if cores is not None:
        command = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            env=inherited | {"FER_LOG_FORMAT": "json", "FER_DEVICE": "cpu", "FER_PORT": str(port)} | settings,
            stderr=stderr,
        )
    try:
        _await_ready(port, process, log)
        yield ServiceProcess(port, process, log, len(cores or os.sched_getaffinity(0)))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY_WITHIN_S
    while True:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the service does not get ready: {log.read_text()[-2000:]}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
