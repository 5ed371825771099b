"""docs/video.md: every command runs as written, except for the installation."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.paths import REPOSITORY

pytest.importorskip("av", reason="PyAV: see requirements/video.txt")

BLOCKS = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs" / "video.md").read_text(), re.DOTALL)


@pytest.mark.slow
def test_commands_run_as_written(tmp_path):
    for name in ("app", "benchmarks", "models", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    for name in (".venv", ".venv-dev"):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    script = "".join(line for line in "".join(BLOCKS).splitlines(keepends=True) if "-m pip install" not in line)
    ended = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 100
    for made in ("faces.csv", "annotated/clip.mp4.webm", "timeline.png"):
        assert (tmp_path / made).stat().st_size > 1000
