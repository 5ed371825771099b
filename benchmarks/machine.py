"""Description of the machine, the package versions and the commit of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from app.server.cpus import available_cpus
from tests.support.paths import REPOSITORY

_PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "onnxruntime", "opencv-python-headless", "pillow", "numpy")
_CPU_INFO = Path("/proc/cpuinfo")


class CpuKind(StrEnum):
    """Kind of CPU by its vector instructions, which decide the speed of the int8 network."""

    AVX512 = "AVX-512"
    AVX2 = "AVX2 only"


def cpu_kind(cpu_info: Path = _CPU_INFO) -> CpuKind:
    """Return the kind of this machine's CPU. Every CPU without AVX-512 VNNI counts as `AVX2`."""
    flags = _cpu_info_value("flags", cpu_info).split()
    return CpuKind.AVX512 if "avx512_vnni" in flags else CpuKind.AVX2


def describe() -> dict[str, object]:
    """Return the machine and the software, for the report."""
    return {
        "cpu": _cpu_info_value("model name", _CPU_INFO) or "unknown CPU",
        "cpu_kind": cpu_kind(),
        "cores": available_cpus(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"Linux {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_info_value(name: str, cpu_info: Path) -> str:
    lines = cpu_info.read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def commit(directory: Path = REPOSITORY) -> str:
    """Return the commit of a checkout, with `+` if its working tree has changes."""
    ended = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout.strip() or "unknown"
