"""The leaderboard: every row is measured once, written as it comes, and says where it came from; ensembles are rows."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import onnx
import pytest

import training.__main__ as command_line
import training.fit.train as train_module
import training.studies.compare as compare_module
from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from training.architectures import Form, build
from training.config import ModelConfig, PublishedConfig
from training.data.fer2013 import Split
from training.errors import TrainingError
from training.evaluation.cost import mflops
from training.evaluation.evaluate import BOTH_TESTS
from training.evaluation.test_time_augmentation import accuracy_of_views, views_of
from training.studies.compare import compare, generated_dataset
from training.studies.ensemble import EnsembleConfig, combine, load_ensemble
from training.studies.leaderboard import Leaderboard
from training.studies.subprocess_pool import call_apart

PUBLISHED = PublishedConfig(source="A report", accuracy=0.5, note="Smaller here")


def call_here(function, calls, side_by_side):
    """`call_apart` without processes, which would each import PyTorch; the smoke test has them."""
    for index, arguments in enumerate(calls):
        try:
            yield index, function(*arguments)
        except TrainingError as error:
            yield index, error


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(train_module.plots, "plot_curves", lambda history, path: None)
    monkeypatch.setattr(compare_module, "latency_ms", lambda path: 1.25)
    monkeypatch.setattr(compare_module, "call_apart", call_here)
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def compared(dataset, tmp_path_factory):
    """Two configs of one epoch and their two ensembles, compared; the folder of everything."""
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
    patch = pytest.MonkeyPatch()
    patch.setattr(compare_module, "latency_ms", lambda path: 1.25)
    patch.setattr(compare_module, "call_apart", call_here)
    with patch.context():
        compare(configs, dataset, folder / "runs", folder / "results", ensembles=ensembles)
    patch.undo()
    return folder, configs


def rows(folder) -> dict[str, dict]:
    return {row["key"]: row for row in json.loads((folder / "results" / "leaderboard.json").read_text())}


def test_compare_row_tells_the_usual_epoch_not_the_one_that_was_held_up(compared):
    folder, _ = compared
    histories = [json.loads((folder / "runs" / run / "history.json").read_text()) for run in ("one-seed3", "two-seed4")]
    seconds = [entry["seconds"] for history in histories for entry in history]
    assert len(seconds) == 3
    assert rows(folder)["both"]["seconds_per_epoch"] == sorted(seconds)[1]
    assert rows(folder)["one"]["seconds_per_epoch"] == pytest.approx(sum(seconds[:2]) / 2)


def test_compare_row_holds_what_was_measured(compared, dataset):
    folder, configs = compared
    row = rows(folder)["one"]
    assert (row["source"], row["reported_accuracy"], row["note"]) == ("A report", 0.5, "Smaller here")
    assert row["epochs"] == 2
    assert row["latency_ms"] == 1.25
    assert row["config"] == configs[0].model_dump(mode="json")
    assert row["parameters"] == build(configs[0].model).count_params()
    assert set(row["accuracy"]) == {"PublicTest", "PrivateTest", BOTH_TESTS}
    session = EmotionSession(folder / "runs" / "one-seed3" / "one.onnx", "cpu", threads=1)
    right = np.concatenate(
        [
            session.logits(dataset[split].images).argmax(axis=1) == dataset[split].labels
            for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST)
        ]
    )
    assert row["accuracy"][BOTH_TESTS] == pytest.approx(right.mean())
    assert np.sum(row["confusion"]) == 56
    assert session.manifest.robustness == {}  # ten times PrivateTest, of which no row speaks


def test_compare_tells_it_to_people_too(compared):
    folder, _ = compared
    table = (folder / "results" / "leaderboard.md").read_text()
    for key in ("one", "two", "both", "vote"):
        assert f"| {key} | " in table
    assert "- `one`: A report. Smaller here." in table
    for plot in ("accuracy_against_latency", "f1_by_class", "confusions"):
        assert (folder / "results" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_compare_again_measures_nothing_that_is_there(compared, dataset, monkeypatch, capsys):
    folder, configs = compared

    def forbidden(*arguments):
        raise AssertionError("measured again")

    monkeypatch.setattr(compare_module, "train_and_measure", forbidden)
    compare(configs, dataset, folder / "runs", folder / "results")
    assert "one: measured before" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="measured again"):
        compare([configs[1].model_copy(update={"epochs": 9})], dataset, folder / "runs", folder / "results")


def test_compare_trains_a_run_after_those_that_it_builds_on(dataset, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    third = tiny_config(name="third", epochs=1, start=runs / "second-seed3")
    second = tiny_config(name="second", epochs=1, teachers={"runs": [runs / "first-seed3"]})
    first = tiny_config(name="first", epochs=1)
    rounds = []

    def recorded(function, calls, side_by_side):
        rounds.append([arguments[0].name for arguments in calls])
        yield from call_here(function, calls, side_by_side)

    monkeypatch.setattr(compare_module, "call_apart", recorded)
    compare([third, second, first], dataset, runs, tmp_path / "results")
    assert rounds == [["first"], ["second"], ["third"]]
    assert set(rows(tmp_path)) == {"first", "second", "third"}


def test_compare_runs_that_wait_for_each_other_are_refused(dataset, tmp_path):
    one = tiny_config(name="one", start=tmp_path / "runs" / "two-seed3")
    two = tiny_config(name="two", start=tmp_path / "runs" / "one-seed3")
    with pytest.raises(TrainingError, match=r"one: .* is not a finished run"):
        compare([one, two], dataset, tmp_path / "runs", tmp_path / "results")


def test_compare_one_failure_does_not_stop_the_others(dataset, tmp_path):
    bad = tiny_config(name="bad", epochs=1, model={"architecture": "resnet50", "widths": [4]})
    good = tiny_config(name="good", epochs=1)
    with pytest.raises(TrainingError, match="bad: resnet50 has no"):
        compare([bad, good], dataset, tmp_path / "runs", tmp_path / "results")
    assert set(rows(tmp_path)) == {"good"}


def test_compare_jobs_run_side_by_side_and_share_the_cores(dataset, tmp_path, monkeypatch):
    seen = {}

    def fake(function, calls, side_by_side):
        seen["jobs"], seen["threads"] = side_by_side, [arguments[-1] for arguments in calls]
        return iter(())

    monkeypatch.setattr(compare_module, "available_cpus", lambda: 7)
    monkeypatch.setattr(compare_module, "call_apart", fake)
    configs = [tiny_config(name="one"), tiny_config(name="two")]
    for jobs, threads in ((1, None), (2, 3), (9, 1)):
        compare(configs, dataset, tmp_path / "runs", tmp_path / "results", jobs=jobs)
        assert seen == {"jobs": jobs, "threads": [threads, threads]}


def test_compare_times_all_rows_in_one_sitting_when_one_has_no_time(compared, dataset, monkeypatch):
    folder, configs = compared
    board = Leaderboard(folder / "results", BOTH_TESTS)
    board.put(board.get("one").model_copy(update={"latency_ms": None, "latency_hardware": None}))
    assert "|  | 2 |" in (folder / "results" / "leaderboard.md").read_text()
    alone = Leaderboard(folder / "alone", BOTH_TESTS)
    alone.put(board.get("one"))
    alone.draw()
    assert not (folder / "alone" / "accuracy_against_latency.png").exists()
    shapes, files = [], []

    def fake(path):
        files.append(path)
        network = onnx.load(path)
        shapes.append(sorted(weights.dims[0] for weights in network.graph.initializer if len(weights.dims) == 4))
        return 2.5

    monkeypatch.setattr(compare_module, "latency_ms", fake)
    compare(configs[:1], dataset, folder / "runs", folder / "results")
    known = [row.key for row in board.rows()]
    assert sorted(known) == ["both", "one", "two", "vote"]
    assert files[known.index("one")] == folder / "runs" / "one-seed3" / "one.onnx"
    # Not asked for, so not at hand: networks of their shapes.
    assert shapes[known.index("two")] == shapes[known.index("one")]
    assert shapes[known.index("both")] == shapes[known.index("vote")] == sorted(2 * shapes[known.index("one")])
    assert {row["latency_ms"] for row in rows(folder).values()} == {2.5}
    assert rows(folder)["one"]["latency_hardware"]
    compare(configs, dataset, folder / "runs", folder / "results")
    assert len(files) == 4, "all have their time"


def test_row_whose_network_cannot_be_built_any_more_is_named(compared, dataset, tmp_path):
    folder, _ = compared
    row = Leaderboard(folder / "results", BOTH_TESTS).get("two")
    board = Leaderboard(tmp_path / "results", BOTH_TESTS)
    board.put(row.model_copy(update={"latency_ms": None, "config": {"model": {"architecture": "lenet"}}}))
    bad = tiny_config(name="bad", epochs=1, model={"architecture": "resnet50", "widths": [4]})
    with pytest.raises(TrainingError, match=r"bad: .*two is of an earlier version and cannot be timed: unknown arch"):
        compare([bad], dataset, tmp_path / "runs", tmp_path / "results")
    assert (tmp_path / "results" / "confusions.png").exists(), "what was measured is drawn all the same"


def test_leaderboard_that_is_damaged_is_refused(tmp_path):
    (tmp_path / "leaderboard.json").write_text('[{"key": "a"}]')
    with pytest.raises(TrainingError, match="damaged or of another version"):
        Leaderboard(tmp_path, BOTH_TESTS)


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
    row = rows(folder)["both"]
    assert row["architecture"] == "ensemble"
    assert row["parameters"] == sum(rows(folder)[key]["parameters"] for key in ("one", "two"))
    assert row["mflops"] == pytest.approx(sum(rows(folder)[key]["mflops"] for key in ("one", "two")))
    assert [config["name"] for config in row["config"]["member_configs"]] == ["one", "two"]


def constant(logits: list[float], name: str) -> keras.Model:
    """A network of one opinion."""
    image = keras.Input((48, 48, 1), dtype="uint8", name="image")
    zero = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(0.0)(image))
    dense = keras.layers.Dense(7, name=f"{name}_logits")
    model = keras.Model(image, dense(zero))
    dense.set_weights([np.zeros((1, 7)), np.array(logits)])
    return model


def test_majority_ensemble_counts_heads_not_confidence():
    sure = constant([9, 0, 0, 0, 0, 0, 0], "sure")
    unsure = [constant([0, 0.4, 0, 0, 0, 0, 0], f"unsure{index}") for index in range(2)]
    image = np.zeros((1, 48, 48, 1), np.uint8)
    models, shares = [sure, *unsure], [1 / 3] * 3
    assert combine(models, "weighted", shares).predict(image, verbose=0).argmax() == 0
    majority = combine(models, "majority", shares).predict(image, verbose=0)[0]
    assert majority.argmax() == 1
    assert np.exp(majority).sum() == pytest.approx(1, abs=1e-4)


def test_ensemble_config_is_checked(tmp_path):
    path = tmp_path / "ensemble.toml"
    path.write_text('name = "e"\nmembers = ["a", "b"]\nweights = [1]\n')
    with pytest.raises(TrainingError, match="as many as members"):
        load_ensemble(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_ensemble(tmp_path / "none.toml")


def test_ensemble_of_an_unfinished_run_is_refused(dataset, tmp_path):
    train_module.train(tiny_config(), dataset, compare_module.RunFolder(tmp_path / "a"), stop_after_epochs=1)
    ensemble = EnsembleConfig(name="e", members=(tmp_path / "a", tmp_path / "a"))
    with pytest.raises(TrainingError, match="not finished"):
        compare([], dataset, tmp_path / "runs", tmp_path / "results", ensembles=[ensemble])


def test_mflops_count_a_multiplication_and_its_addition_as_two():
    config = ModelConfig(architecture="vgg", widths=(4, 8), convolutions_per_stage=1)
    products = 48 * 48 * 9 * 1 * 4 + 24 * 24 * 9 * 4 * 8 + 8 * 7
    assert mflops(build(config, Form.SERVED)) == pytest.approx(2 * products / 1e6)


def test_views_are_the_image_its_mirror_and_the_corners():
    images = np.random.default_rng(0).integers(0, 256, size=(2, 48, 48, 1), dtype=np.uint8)
    flips = list(views_of(images, "flip"))
    assert len(flips) == 2
    np.testing.assert_array_equal(flips[0], images)
    np.testing.assert_array_equal(flips[1], images[:, :, ::-1])
    crops = list(views_of(images, "ten_crop"))
    assert len(crops) == 10
    assert {crop.shape for crop in crops} == {images.shape}
    assert len({crop.tobytes() for crop in crops}) == 10
    np.testing.assert_array_equal(crops[2][:, 4:, 4:], images[:, :44, :44])


def test_accuracy_of_views_judges_the_mean_of_the_views(compared, dataset):
    folder, _ = compared
    path = folder / "runs" / "one-seed3" / "one.onnx"
    data = dataset[Split.PUBLIC_TEST]
    session = EmotionSession(path, "cpu", threads=1)
    temperature = session.manifest.contract.temperature
    scores = 0
    for view in (data.images, data.images[:, :, ::-1]):
        exponentials = np.exp(session.logits(np.ascontiguousarray(view)) / temperature)
        scores = scores + exponentials / exponentials.sum(axis=1, keepdims=True)
    expected = (scores.argmax(axis=1) == data.labels).mean()
    assert accuracy_of_views(path, dataset, [Split.PUBLIC_TEST], "flip") == pytest.approx(expected)


def test_smoke_takes_an_architecture_through_all_stages(monkeypatch, capsys):
    monkeypatch.setattr(compare_module, "ARCHITECTURES", ("cnn_basic",))
    monkeypatch.setattr(compare_module, "call_apart", call_apart)
    monkeypatch.setattr(sys, "argv", ["training", "compare", "--smoke"])
    assert command_line.main() == 0
    assert "smoke_cnn_basic: " in (printed := capsys.readouterr().out)
    assert "All 1 architectures came through" in printed


def test_generated_dataset_has_all_labels_in_all_splits():
    dataset = generated_dataset()
    for split in Split:
        assert min(dataset[split].counts()) == 10
