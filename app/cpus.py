"""How many processor cores this process may use, and which of its threads go first."""

from __future__ import annotations

import math
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

# Steps of niceness below the event loop: a third of its weight where both want the same core.
_BEHIND = 5


def go_behind_the_event_loop() -> None:
    """Lowers the priority of the thread that calls it, for threads that decode, detect and run the network.

    Each of them holds a core for as long as it gets it; the event loop needs one for a moment, and everybody waits for
    it: callers for a refusal, orchestrators for a probe. Only Linux has priorities of threads; elsewhere nothing is
    done.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it; the threads must work all the same
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _BEHIND)


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores by affinity, lowered to the container's CPU quota.

    A container limited to 2 of 64 cores still sees 64; threads beyond its quota only get it throttled.

    Args:
        cgroup: Where the process's control group is mounted; version 2 (`cpu.max`) and version 1 are read.

    Returns:
        At least 1; a fraction of a core counts as a whole one.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota_cores(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota_cores(cgroup: Path) -> float | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if quota in {"max", "-1"}:
        return None
    return int(quota) / int(period)
