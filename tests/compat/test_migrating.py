"""The examples of docs/migrating.md, run as written against the service with the shipped model."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.paths import REPOSITORY
from tests.support.process import service_process

EXAMPLES = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "migrating.md").read_text(), flags=re.DOTALL)
CLIENTS = ("requests", "boto3", "azure.cognitiveservices.vision.face", "tritonclient.http")


@pytest.fixture(scope="module")
def service() -> Iterator[httpx2.Client]:
    with service_process() as (client, _):
        yield client


def test_every_client_has_an_example():
    assert len(EXAMPLES) == len(CLIENTS)
    for client, example in zip(CLIENTS, EXAMPLES, strict=True):
        assert client in example


@pytest.mark.filterwarnings("ignore")  # warnings of the clients
@pytest.mark.parametrize(("client", "example"), list(zip(CLIENTS, EXAMPLES, strict=False)), ids=CLIENTS)
def test_example_runs_as_written(service, client, example, monkeypatch, capsys):
    pytest.importorskip(client, reason=f"{client}: see requirements/clients.txt")
    monkeypatch.chdir(REPOSITORY)
    address = f"127.0.0.1:{service.base_url.port}"
    assert "127.0.0.1:8000" in example
    exec(compile(example.replace("127.0.0.1:8000", address), client, "exec"), {"__name__": "__main__"})  # noqa: S102
    output = capsys.readouterr().out
    assert re.search(r"happy|HAPPY|happiness|\d\.\d", output), output
