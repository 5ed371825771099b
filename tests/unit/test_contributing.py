"""Tests of CONTRIBUTING.md: the paths and the make targets that it names exist."""

from __future__ import annotations

import re

import pytest

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
TARGETS = sorted(set(re.findall(r"\bmake ([a-z][a-z-]+)", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_path_exists(path):
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target):
    assert re.search(rf"^{target}:.* ## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def test_paths_and_targets_are_found():
    assert {"app/config.py", "training/architectures/vgg.py", "docs/architecture.md"} <= set(PATHS)
    assert {"test", "lint", "lock", "openapi"} <= set(TARGETS)
