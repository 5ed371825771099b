"""The origin of a result: commit, dataset, packages, hardware. Written into every run folder and every model."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013

_PACKAGES = ("keras", "torch", "numpy", "opencv-python-headless", "onnx", "onnxruntime")


def describe_environment() -> dict[str, Any]:
    """Return the commit, Python, package versions and hardware of this process."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": versions,
        "hardware": {"machine": platform.machine(), "processor": _processor(), "accelerator": _accelerator()},
    }


def describe_dataset(dataset: Fer2013, votes: AnnotatorVotes | None = None) -> dict[str, Any]:
    """Return the dataset's SHA-256 and image counts by split, and the SHA-256 of the annotator votes if used."""
    described: dict[str, Any] = {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "counts": {dataset.title(split): len(data.labels) for split, data in dataset.splits.items()},
    }
    return described if votes is None else described | {"votes": {"name": "FER+", "sha256": votes.sha256}}


def _commit() -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]} x {len(models)}" if models else platform.processor()


def _accelerator() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
