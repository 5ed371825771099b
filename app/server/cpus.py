"""How many processor cores this process may use, which of its threads go first, and which core each thread is on."""

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


class HomeCores:
    """Keeps threads on cores of their own for as long as there is work for all of them.

    Left alone, Linux often runs two of them on one core while another core idles: they sleep and wake too often, for
    Python's lock, for its balancing to keep up with them. While there is less work than threads, nothing is held: then
    a neighbour may need the core more, and the kernel knows which one idles.

    Args:
        threads: How many will call `settle`. Where it is not one for each core, as under a CPU quota, nothing is ever
            held: which cores are free is not known then.
    """

    def __init__(self, threads: int) -> None:
        self._cores = os.sched_getaffinity(0)
        self._homes = iter(sorted(self._cores) if 1 < threads == len(self._cores) else ())
        self._of_thread = threading.local()

    def settle(self, crowded: bool) -> None:
        """Called by each of the threads before a piece of work.

        Args:
            crowded: Whether all threads have work.
        """
        mine = self._of_thread
        if not hasattr(mine, "home"):
            mine.home, mine.held = next(self._homes, None), False
        if mine.home is None or mine.held == crowded:
            return
        mine.held = crowded
        with suppress(OSError):  # a sandbox may forbid it, and an operator may take cores away
            os.sched_setaffinity(0, {mine.home} if crowded else self._cores)


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
