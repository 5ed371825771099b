"""CPU time and resident memory of a process, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Return the CPU time that a running process has used, in seconds.

    Returns:
        The time of all threads, and the time of the main thread, which runs the event loop of a server.
    """
    return _cpu_of(Path(f"/proc/{pid}/stat")), _cpu_of(Path(f"/proc/{pid}/task/{pid}/stat"))


def _cpu_of(stat: Path) -> float:
    # The second field is the name of the process in parentheses and may contain spaces.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(pid: int) -> int:
    """Return the resident memory of a running process in kB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
