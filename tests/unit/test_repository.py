"""Tests of CONTRIBUTING.md and the CI workflows: the paths and the make targets that they name exist."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from tests.support.paths import REPOSITORY

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
PATHS = sorted(
    {
        path
        for path in re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:md|toml|txt|yml|json))`", TEXT)
        if not path.startswith("..")
    }
    | set(re.findall(r"\]\(([\w./-]+)\)", TEXT))
)
WORKFLOWS = REPOSITORY / ".github" / "workflows"
SCRIPTS = [*WORKFLOWS.glob("*.yml"), REPOSITORY / ".ci" / "run"]
TARGETS = sorted(set(re.findall(r"\bmake ([a-z][a-z-]+)", "\n".join([TEXT, *(path.read_text() for path in SCRIPTS)]))))


@pytest.mark.parametrize("path", PATHS)
def test_path_exists(path):
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target):
    assert re.search(rf"^{target}:.* ## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def test_paths_and_targets_are_found():
    assert {"app/config.py", "training/architectures/vgg.py", "docs/architecture.md"} <= set(PATHS)
    assert {"test", "lint", "lock", "openapi", "docker-test"} <= set(TARGETS)


def test_ci_tests_every_declared_python_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    jobs = yaml.safe_load((WORKFLOWS / "ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == declared
    assert project["requires-python"] == f">={declared[0]}"


def test_service_and_client_have_the_same_version():
    """The release workflow compares both versions with the tag."""
    files = ("pyproject.toml", "clients/python/pyproject.toml")
    assert len({tomllib.loads((REPOSITORY / name).read_text())["project"]["version"] for name in files}) == 1


def test_the_digest_that_make_yunet_checks_is_the_digest_that_the_service_requires():
    from app.vision.yunet.model import FILE_NAME, SHA256

    assert (REPOSITORY / "detectors" / "yunet.sha256").read_text().split() == [SHA256, FILE_NAME]
