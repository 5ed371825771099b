"""The number of CPU cores of this process, and the priority of its threads."""

from __future__ import annotations

import math
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

# Steps of niceness below the event loop: a third of its weight if both compete for one core.
_NICENESS_STEPS = 5


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread below the event loop, for threads that decode, detect or run the model.

    Such a thread uses a core for as long as it gets it. The event loop needs a core for a moment, and all callers and
    probes wait for it. The scheduling policy SCHED_BATCH tells the kernel that the thread is CPU-bound: the kernel
    wakes it without preempting other threads, which saves 3 % of the CPU time of a portrait. Only Linux has priorities
    of threads; elsewhere the function does nothing.

    Reference:
        sched(7).
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS_STEPS)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # 0 is the calling thread


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores that the process may use: its CPU affinity, limited by the quota of the container.

    A container that is limited to 2 of 64 cores still sees 64. Threads beyond the quota only cause throttling.

    Args:
        cgroup: Mount point of the control group, version 2 (`cpu.max`) or version 1.

    Returns:
        At least 1; a fraction of a core counts as one core.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota_cores(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def vision_thread_count(cores: int) -> int:
    """Return the number of threads for decoding and detection: one more than cores, and one on a single core.

    The kernel often runs two vision threads on one core while the other core has no work, and a vision thread that
    waits for Python's lock leaves its core idle. One more thread uses this time: on two cores, portraits gain 7 % of
    throughput. On a single core a second thread only competes with the event loop, and overload lowers goodput more.

    Args:
        cores: Number of cores that the process may use.
    """
    return cores + 1 if cores > 1 else 1


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
