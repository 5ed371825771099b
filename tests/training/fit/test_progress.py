"""Progress of an epoch off a terminal, and the history as CSV."""

from __future__ import annotations

import csv

from tests.support.datasets import tiny_config
from training.fit.progress import STEPS_PER_LINE, build_progress
from training.fit.run_folder import RunFolder
from training.fit.train import train


def test_lines_off_a_terminal_come_every_50_steps(capsys):
    steps = 2 * STEPS_PER_LINE + 10
    progress = build_progress(steps)
    for done in range(1, steps + 1):
        progress.update(done, [("loss", 1.5), ("accuracy", done / steps)])
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == f"  step 50/{steps}: loss 1.5000, accuracy 0.4545".strip()
    assert lines[1].strip().startswith(f"step 100/{steps}")
    assert len(lines) == 3
    assert lines[2].startswith(f"{steps}/{steps}")


def test_history_is_a_table_too(dataset, tmp_path, without_plots):
    run = RunFolder(tmp_path / "run")
    state = train(tiny_config(epochs=2), dataset, run)
    with (tmp_path / "run/history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row, entry in zip(rows, state.history, strict=True):
        assert {name: float(value) for name, value in row.items() if name != "epoch"} == entry
