"""Tests of the requirement files: exact versions, and lists that agree."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml

from tests.support.paths import REPOSITORY

FILES = (
    "requirements.txt",
    "requirements/cpu.txt",
    "requirements/cuda.txt",
    "requirements/dev.txt",
    "requirements/clients.txt",
    "requirements/generators.txt",
    "requirements/kserve.txt",
    "requirements/otel.txt",
    "requirements/openvino.txt",
    "requirements/ray.txt",
    "requirements/tensorboard.txt",
    "requirements/video.txt",
)


def requirements(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (REPOSITORY / name).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def test_cpu_requirements_differ_only_in_the_build_of_onnx_runtime():
    full, cpu = set(requirements("requirements.txt")), set(requirements("requirements/cpu.txt"))
    (gpu_build,), (cpu_build,) = full - cpu, cpu - full
    assert gpu_build.replace("onnxruntime-gpu", "onnxruntime") == cpu_build


@pytest.mark.parametrize("name", [*FILES, "requirements/training.txt", "requirements/constraints.txt"])
def test_every_requirement_has_an_exact_version(name):
    assert [line for line in requirements(name) if not re.fullmatch(r"[\w.\[\],-]+==[\w.]+", line)] == []


def test_training_lists_every_package_that_it_imports():
    listed = {
        re.split(r"[=\[]", line)[0].lower()
        for name in ("requirements/cpu.txt", "requirements/training.txt", "requirements/openvino.txt")
        for line in requirements(name)
    }
    imported = {
        name.partition(".")[0]
        for path in (REPOSITORY / "training").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported_names(node)
    }
    packages = packages_distributions() | {"openvino": ["openvino"]}  # an optional package, not installed everywhere
    others = imported - set(sys.stdlib_module_names) - {"app", "training"}
    assert {name for name in others if not listed & {package.lower() for package in packages[name]}} == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_nvidia_packages_are_pinned_for_the_gpu_service_only():
    """PyTorch and ONNX Runtime need different versions of cuDNN, so a shared constraint makes dev.txt uninstallable."""
    assert [line for line in requirements("requirements/constraints.txt") if line.startswith("nvidia-")] == []
    assert [line for line in requirements("requirements/cuda.txt") if line.startswith("nvidia-cudnn")]


def test_opencv_is_below_the_version_without_cascade_classifiers():
    (opencv,) = [line for line in requirements("requirements.txt") if line.startswith("opencv")]
    assert int(opencv.split("==")[1].split(".")[0]) < 5


@pytest.mark.parametrize(
    ("lock", "names"),
    [
        ("requirements/cpu.lock", ["requirements/cpu.txt", "requirements/otel.txt"]),
        ("requirements/gpu.lock", ["requirements.txt", "requirements/cuda.txt", "requirements/otel.txt"]),
    ],
)
def test_lock_has_every_requirement_at_its_version_with_hashes(lock, names):
    """`make serve` and the images install from the lock files only."""
    entries = re.split(r"\n(?=\S)", (REPOSITORY / lock).read_text().strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    locked = dict(re.match(r"([\w.-]+)==([\w.]+)", entry).groups() for entry in entries)
    for name in names:
        for line in requirements(name):
            project, version = re.sub(r"\[.*?\]", "", line).lower().split("==")
            assert locked[project] == version, line
    pinned = dict(line.lower().replace("_", "-").split("==") for line in requirements("requirements/constraints.txt"))
    differing = {
        name: (version, pinned[name]) for name, version in locked.items() if pinned.get(name, version) != version
    }
    assert differing == {}


def test_pre_commit_and_lint_use_the_same_version_of_ruff():
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    (revision,) = [entry["rev"] for entry in config["repos"] if "ruff" in entry["repo"]]
    assert f"ruff=={revision.removeprefix('v')}" in requirements("requirements/dev.txt")
