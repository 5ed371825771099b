"""The command `explore` on own data."""

from __future__ import annotations

import json

from tests.support.labelled import png, write_files, write_table
from training.cli import main


def test_explore_own_data(tmp_path, monkeypatch, capsys):
    write_files(tmp_path, {f"{index}.png": png(index) for index in range(12)} | {"bad.png": b"x"})
    rows = [["path", "label", "split", "age"]]
    rows += [
        [f"{index}.png", ("happy", "sad")[index % 2], ("train", "test")[index // 8], "young"] for index in range(12)
    ]
    table = write_table(tmp_path / "set.csv", [*rows, ["bad.png", "sad", "test", ""]])
    monkeypatch.setattr("sys.argv", ["training", "explore", "--data", str(table), "--out", str(tmp_path / "out")])
    assert main() == 0
    output = capsys.readouterr()
    assert "age: young (12)" in output.out
    assert "bad.png: expected a JPEG" in output.err
    content = json.loads((tmp_path / "out/audit.json").read_text())
    assert content["splits"]["train"]["counts"]["happy"] == 4
    assert content["splits"]["test"]["images"] == 4
    assert content["report"]["bad_files"][0]["path"] == "bad.png"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"audit.json", "counts.png", "samples.png"}
