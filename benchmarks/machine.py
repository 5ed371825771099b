"""What ran the benchmark: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from app.server.cpus import available_cpus
from tests.support.paths import REPOSITORY

_PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "onnxruntime", "opencv-python-headless", "pillow", "numpy")


def describe() -> dict[str, object]:
    """Machine and software, for the report."""
    return {
        "cpu": _cpu_model(),
        "cores": available_cpus(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"Linux {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit() -> str:
    """Of this repository, with `+` where the working tree has changes of its own."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
