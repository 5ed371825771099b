"""The size of modules and functions of `app` and `training`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

MAX_MODULE_LINES = 250
MAX_FUNCTION_LINES = 50
# A longer module or function needs a reason here.
EXCEPTIONS: dict[str, str] = {}

MODULES = sorted(path for package in ("app", "training") for path in (REPOSITORY / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_and_its_functions_are_short(path: Path):
    source = path.read_text(encoding="utf-8")
    long = {} if len(source.splitlines()) <= MAX_MODULE_LINES else {name_of(path): len(source.splitlines())}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                long[f"{name_of(path)}:{node.name}"] = lines
    assert {name: lines for name, lines in long.items() if name not in EXCEPTIONS} == {}
