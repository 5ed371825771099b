"""The command that measures steps with teachers and with two gradient passes."""

from __future__ import annotations

import pytest

from tests.support.datasets import tiny_config
from tests.training.test_config import SMALLEST
from training import cli
from training.fit.run_folder import RunFolder
from training.fit.train import train


@pytest.fixture(scope="module")
def teacher(dataset, tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("teacher") / "run")
    train(tiny_config(epochs=1), dataset, run)
    return run.path


def test_command_prints_the_ratios(teacher, tmp_path, monkeypatch, capsys):
    (tmp_path / "config.toml").write_text(SMALLEST)
    monkeypatch.setattr(
        "sys.argv", ["training", "step-cost", str(tmp_path / "config.toml"), "--teacher", str(teacher), "--rounds", "3"]
    )
    assert cli.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["plain step", "with teachers", "sharpness-aware"]
    assert all(float(line.split(":")[1].split()[0]) > 1 for line in lines[1:])


def test_one_round_is_refused(teacher, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["training", "step-cost", "config.toml", "--teacher", str(teacher), "--rounds", "1"]
    )
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "expected a whole number of at least 2. Received: 1" in capsys.readouterr().err
