"""Tests of the client's documents: every Python example runs as written."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from tests.support.paths import REPOSITORY
from tests.support.server import serving
from tests.support.waiting import wait_until

EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name in ("docs/client.md", "clients/python/README.md")
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", (REPOSITORY / name).read_text(), re.DOTALL))
]


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """URL of the service with its default model and detector, when it is ready."""
    with serving(create_app(Settings(deadline_ms=60_000))) as url:
        wait_until(lambda: httpx2.get(f"{url}/readyz").status_code == 200, seconds=60)
        yield url


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example, service, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    url = "http://127.0.0.1:8000"
    assert url in example
    exec(compile(example.replace(url, service), "example", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out


def test_examples_are_found():
    assert len(EXAMPLES) >= 4
