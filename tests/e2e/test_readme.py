"""The README: its request examples run, it is short, and its links exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.support.paths import REPOSITORY
from tests.support.process import service_process

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_shell_examples_return_the_same_prediction_in_every_request_form():
    (code,) = (block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "/predict" in block)
    with service_process() as (client, _):
        address = f"{client.base_url.host}:{client.base_url.port}"
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code.replace("localhost:8000", address)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    answers = [json.loads(line) for line in ended.stdout.replace("}{", "}\n{").splitlines()]
    *single, batch = answers
    assert [answer["emotion"] for answer in single] == ["happy"] * 3
    assert single[0]["faces"] == single[1]["faces"] == single[2]["faces"]
    assert [entry["emotion"] for entry in batch["results"]] == ["happy"] * 2


def test_readme_is_short_and_its_links_exist():
    assert len(README.splitlines()) <= 150
    targets = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", README)
    assert [target for target in targets if not (REPOSITORY / target).exists()] == []
