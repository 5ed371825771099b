"""Comparison: every row is measured once, failures do not stop other configs, ensembles are rows."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import training.studies.compare as compare_module
from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from training.architectures import build
from training.config import PublishedConfig
from training.data.splits import Split
from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS
from training.studies.compare import compare
from training.studies.ensemble import EnsembleConfig
from training.studies.leaderboard import Leaderboard

PUBLISHED = PublishedConfig(source="A report", accuracy=0.5, note="Smaller here")


@pytest.fixture(scope="module")
def compared(dataset, tmp_path_factory):
    """Two configs and two ensembles of them, compared. Returns the folder of runs and results, and the configs."""
    folder = tmp_path_factory.mktemp("compare")
    configs = [
        tiny_config(name="one", epochs=2, published=PUBLISHED.model_dump()),
        tiny_config(name="two", epochs=1, seed=4),
    ]
    members = (folder / "runs" / "one-seed3", folder / "runs" / "two-seed4")
    ensembles = [
        EnsembleConfig(name="both", members=members, weights=(3, 1)),
        EnsembleConfig(name="vote", members=members, method="majority"),
    ]
    compare(configs, dataset, folder / "runs", folder / "results", ensembles=ensembles)
    return folder, configs


@pytest.fixture
def results(compared, tmp_path):
    """A copy of the leaderboard, for tests that change it."""
    board = Leaderboard(compared[0] / "results")
    copy = Leaderboard(tmp_path / "results")
    copy.put(*board.rows())
    return tmp_path / "results"


@pytest.fixture
def without_plots(monkeypatch):
    monkeypatch.setattr(Leaderboard, "draw", lambda self: None)


def rows(results) -> dict[str, dict]:
    return {row["key"]: row for row in json.loads((results / "leaderboard.json").read_text())}


def fail_if_trained(monkeypatch):
    def forbidden(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(compare_module, "train_and_measure", forbidden)


def test_row_has_the_median_seconds_per_epoch(compared):
    folder, _ = compared
    histories = [json.loads((folder / "runs" / run / "history.json").read_text()) for run in ("one-seed3", "two-seed4")]
    seconds = [entry["seconds"] for history in histories for entry in history]
    assert len(seconds) == 3
    assert rows(folder / "results")["both"]["seconds_per_epoch"] == sorted(seconds)[1]
    assert rows(folder / "results")["one"]["seconds_per_epoch"] == pytest.approx(sum(seconds[:2]) / 2)


def test_row_has_the_measured_figures(compared, dataset):
    folder, configs = compared
    row = rows(folder / "results")["one"]
    assert (row["source"], row["reported_accuracy"], row["note"]) == ("A report", 0.5, "Smaller here")
    assert row["epochs"] == 2
    assert row["latency_ms"] == 1.25
    assert row["config"] == configs[0].model_dump(mode="json")
    assert row["parameters"] == build(configs[0].model).count_params()
    assert set(row["accuracy"]) == {"PublicTest", "PrivateTest", BOTH_TESTS}
    session = EmotionSession(folder / "runs" / "one-seed3" / "one.onnx", "cpu", threads=1)
    correct = np.concatenate(
        [
            session.logits(dataset[split].images).argmax(axis=1) == dataset[split].labels
            for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST)
        ]
    )
    assert row["accuracy"][BOTH_TESTS] == pytest.approx(correct.mean())
    assert np.sum(row["confusion"]) == 56
    assert session.manifest.robustness == {}, "corruptions cost ten measurements, and no row shows them"


def test_compare_writes_the_table_and_the_plots(compared):
    folder, _ = compared
    table = (folder / "results" / "leaderboard.md").read_text()
    for key in ("one", "two", "both", "vote"):
        assert f"| {key} | " in table
    assert "- `one`: A report. Smaller here." in table
    for plot in ("accuracy_against_latency", "f1_by_class", "confusions"):
        assert (folder / "results" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("without_plots")
def test_second_compare_measures_nothing(compared, results, dataset, monkeypatch, capsys):
    folder, configs = compared
    fail_if_trained(monkeypatch)
    compare(configs, dataset, folder / "runs", results)
    assert "one: already measured" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="trained again"):
        compare([configs[1].model_copy(update={"epochs": 9})], dataset, folder / "runs", results)


@pytest.mark.usefixtures("without_plots")
def test_second_compare_measures_no_config_with_parent_runs(compared, results, dataset, monkeypatch):
    folder, configs = compared
    config = configs[0].model_copy(update={"warm_start": folder / "runs" / "two-seed4"})
    board = Leaderboard(results)
    recorded = config.model_dump(mode="json") | {
        "parent_runs": {"two-seed4": "0" * 64},
        "warm_start_config": configs[1].model_dump(mode="json"),
    }
    board.put(board.get("one").model_copy(update={"config": recorded}))
    fail_if_trained(monkeypatch)
    compare([config], dataset, folder / "runs", results)


@pytest.mark.usefixtures("without_plots")
def test_row_gets_the_present_note_of_its_config(compared, results, dataset, monkeypatch):
    folder, configs = compared
    fail_if_trained(monkeypatch)
    reworded = configs[0].model_copy(update={"published": PUBLISHED.model_copy(update={"note": "Fewer channels"})})
    compare([reworded], dataset, folder / "runs", results)
    assert rows(results)["one"]["note"] == "Fewer channels"
    assert "- `one`: A report. Fewer channels." in (results / "leaderboard.md").read_text()


@pytest.mark.usefixtures("without_plots")
def test_config_is_trained_after_its_parent_runs(compared, dataset, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    third = tiny_config(name="third", warm_start=runs / "second-seed3")
    second = tiny_config(name="second", distillation={"runs": [runs / "first-seed3"]})
    first = tiny_config(name="first")
    template = Leaderboard(compared[0] / "results").get("one")
    rounds = []

    def record_calls(function, calls, jobs):
        rounds.append([arguments[0].name for arguments in calls])
        for index, arguments in enumerate(calls):
            yield index, template.model_copy(update={"key": arguments[0].name})

    monkeypatch.setattr(compare_module, "call_in_subprocesses", record_calls)
    compare([third, second, first], dataset, runs, tmp_path / "results")
    assert rounds == [["first"], ["second"], ["third"]]
    assert set(rows(tmp_path / "results")) == {"first", "second", "third"}


@pytest.mark.usefixtures("without_plots")
def test_cycle_of_parent_runs_is_refused(dataset, tmp_path):
    one = tiny_config(name="one", warm_start=tmp_path / "runs" / "two-seed3")
    two = tiny_config(name="two", warm_start=tmp_path / "runs" / "one-seed3")
    with pytest.raises(TrainingError, match=r"one: .* is not a finished run"):
        compare([one, two], dataset, tmp_path / "runs", tmp_path / "results")


@pytest.mark.usefixtures("without_plots")
def test_failed_config_does_not_stop_the_others(dataset, tmp_path):
    bad = tiny_config(name="bad", epochs=1, model={"architecture": "resnet50", "widths": [4]})
    good = tiny_config(name="good", epochs=1)
    with pytest.raises(TrainingError, match="bad: resnet50 has no"):
        compare([bad, good], dataset, tmp_path / "runs", tmp_path / "results")
    assert set(rows(tmp_path / "results")) == {"good"}


@pytest.mark.usefixtures("without_plots")
def test_jobs_share_the_cores(dataset, tmp_path, monkeypatch):
    received = {}

    def record_calls(function, calls, jobs):
        received["jobs"], received["threads"] = jobs, [arguments[-1] for arguments in calls]
        return iter(())

    monkeypatch.setattr(compare_module, "cpu_count", lambda: 7)
    monkeypatch.setattr(compare_module, "call_in_subprocesses", record_calls)
    configs = [tiny_config(name="one"), tiny_config(name="two")]
    for jobs, threads in ((1, None), (2, 3), (9, 1)):
        compare(configs, dataset, tmp_path / "runs", tmp_path / "results", jobs=jobs)
        assert received == {"jobs": jobs, "threads": [threads, threads]}


@pytest.mark.usefixtures("without_plots")
def test_one_row_without_latency_measures_all_rows_again(compared, results, dataset, monkeypatch):
    folder, configs = compared
    board = Leaderboard(results)
    board.put(board.get("one").model_copy(update={"latency_ms": None, "latency_hardware": None}))
    assert "|  | 2 |" in (results / "leaderboard.md").read_text()
    shapes, files = [], []

    def record_file(path):
        files.append(path)
        network = onnx.load(path)
        shapes.append(sorted(weights.dims[0] for weights in network.graph.initializer if len(weights.dims) == 4))
        return 2.5

    monkeypatch.setattr("training.studies.latency.latency_ms", record_file)
    compare(configs[:1], dataset, folder / "runs", results)
    keys = [row.key for row in board.rows()]
    assert sorted(keys) == ["both", "one", "two", "vote"]
    assert files[keys.index("one")] == folder / "runs" / "one-seed3" / "one.onnx"
    # Rows without an ONNX file are measured with random networks of the same shape.
    assert shapes[keys.index("two")] == shapes[keys.index("one")]
    assert shapes[keys.index("both")] == shapes[keys.index("vote")] == sorted(2 * shapes[keys.index("one")])
    assert {row["latency_ms"] for row in rows(results).values()} == {2.5}
    assert rows(results)["one"]["latency_hardware"]
    compare(configs, dataset, folder / "runs", results)
    assert len(files) == 4, "all rows have their latency"


def test_row_whose_network_cannot_be_built_is_named(compared, dataset, tmp_path):
    board = Leaderboard(tmp_path / "results")
    old = {"latency_ms": None, "config": {"model": {"architecture": "lenet"}}}
    board.put(Leaderboard(compared[0] / "results").get("two").model_copy(update=old))
    bad = tiny_config(name="bad", epochs=1, model={"architecture": "resnet50", "widths": [4]})
    with pytest.raises(TrainingError, match=r"bad: .*the network of two cannot be built.*unknown arch"):
        compare([bad], dataset, tmp_path / "runs", tmp_path / "results")
    assert (tmp_path / "results" / "confusions.png").exists(), "measured rows are drawn all the same"


def member_probabilities(folder, images) -> list[np.ndarray]:
    found = []
    for key, seed in (("one", 3), ("two", 4)):
        session = EmotionSession(folder / "runs" / f"{key}-seed{seed}" / f"{key}.onnx", "cpu", threads=1)
        exponentials = np.exp(session.logits(images).astype(np.float64))
        found.append(exponentials / exponentials.sum(axis=1, keepdims=True))
    return found


def test_weighted_ensemble_in_one_file_is_the_weighted_mean(compared, dataset):
    folder, _ = compared
    images = dataset[Split.PRIVATE_TEST].images
    one, two = member_probabilities(folder, images)
    assert np.abs(one - two).max() > 0.01
    session = EmotionSession(folder / "runs" / "both" / "both.onnx", "cpu", threads=1)
    np.testing.assert_allclose(np.exp(session.logits(images)), 0.75 * one + 0.25 * two, atol=1e-4)
    board = rows(folder / "results")
    assert board["both"]["architecture"] == "ensemble"
    assert board["both"]["parameters"] == sum(board[key]["parameters"] for key in ("one", "two"))
    assert board["both"]["mflops"] == pytest.approx(sum(board[key]["mflops"] for key in ("one", "two")))
    assert [config["name"] for config in board["both"]["config"]["member_configs"]] == ["one", "two"]
