"""Leaderboard files: damaged files are refused, and rows without latency are not drawn."""

from __future__ import annotations

import pytest

from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS
from training.studies.leaderboard import Leaderboard, Row

ROW = Row(
    key="one",
    architecture="vgg",
    source=None,
    reported_accuracy=None,
    note="",
    parameters=1,
    mflops=1.0,
    seconds_per_epoch=1.0,
    epochs=1,
    hardware="a processor",
    accuracy={"PublicTest": 0.5, "PrivateTest": 0.5, BOTH_TESTS: 0.5},
    accuracy_interval=(0.4, 0.6),
    accuracy_with_flips=0.5,
    macro_precision=0.5,
    macro_recall=0.5,
    macro_f1=0.5,
    per_class_f1=dict.fromkeys(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), 0.5),
    confusion=((1,) * 7,) * 7,
    config={},
    commit="0",
)


def test_damaged_leaderboard_is_refused(tmp_path):
    (tmp_path / "leaderboard.json").write_text('[{"key": "a"}]')
    with pytest.raises(TrainingError, match="damaged or from another version"):
        Leaderboard(tmp_path)


def test_leaderboard_without_latencies_has_no_latency_plot(tmp_path):
    board = Leaderboard(tmp_path)
    board.put(ROW)
    board.draw()
    assert Leaderboard(tmp_path).rows() == [ROW]
    assert {path.name for path in tmp_path.iterdir()} == {
        "leaderboard.json",
        "leaderboard.md",
        "f1_by_class.png",
        "confusions.png",
    }


def test_empty_leaderboard_draws_nothing(tmp_path):
    Leaderboard(tmp_path / "results").draw()
    assert not (tmp_path / "results").exists()
