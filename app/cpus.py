"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


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
