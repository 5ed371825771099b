"""The number of CPU cores of this process, and the priority of its threads."""

from __future__ import annotations

import math
import os
import sys
import threading
from contextlib import suppress

from app.server.cgroup import ControlGroups

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


def available_cpus(groups: ControlGroups | None = None) -> int:
    """Return the number of cores that the process may use: its CPU affinity, limited by the quota of its control group.

    A container that is limited to 2 of 64 cores still reports 64. Threads beyond the quota only cause throttling.

    Args:
        groups: Control groups of the process; None to find them.

    Returns:
        At least 1; a fraction of a core counts as one core.
    """
    cores = len(os.sched_getaffinity(0))
    quota = (groups or ControlGroups()).quota_cores()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))
