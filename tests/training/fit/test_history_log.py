"""The history of a run for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets import edition_files, tiny_config, write_archive
from training import cli
from training.data.splits import Split
from training.errors import TrainingError
from training.fit import history_log
from training.fit.history_log import check_tensorboard, tensorboard_log
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows: `run/tag` -> (epoch, value)."""
    pytest.importorskip("tensorboard", reason="TensorBoard: see requirements/tensorboard.txt")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for run in sorted(path.name for path in folder.iterdir()):
        events = EventAccumulator(str(folder / run)).Reload()
        for tag in events.Tags()["scalars"]:
            found[f"{run}/{tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
    return found


def expected(history) -> dict[str, list[tuple[int, float]]]:
    names = {"loss", "accuracy", "learning_rate", "seconds"}
    tags = {name: f"train/epoch_{name}" for name in names}
    tags |= {f"val_{name}": f"validation/epoch_{name}" for name in ("loss", "accuracy")}
    return {
        tag: [(epoch, pytest.approx(entry[name], rel=1e-6)) for epoch, entry in enumerate(history, start=1)]
        for name, tag in tags.items()
    }


def test_interrupted_run_has_one_curve(dataset, tmp_path):
    run, folder = RunFolder(tmp_path / "run"), tmp_path / "log"
    train(tiny_config(), dataset, run, stop_after_epochs=1)  # without a log: the next session writes this epoch too
    for _ in range(2):
        with tensorboard_log(folder) as log:
            state = train(tiny_config(), dataset, run, stop_after_epochs=1, log=log)
    assert state.epochs_done == 3
    assert curves(folder) == expected(state.history)


def test_option_of_train(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "training.data.fer2013.EXPECTED_COUNTS", {split: (n,) * 7 for split, n in zip(Split, (4, 2, 2), strict=True)}
    )
    archive = write_archive(tmp_path / "fer2013.zip", edition_files())
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\nseed = 1\nepochs = 1\nbatch_size = 14\n[model]\narchitecture = "vgg"\nwidths = [4]\n'
        "[optimizer]\nlearning_rate = 0.01\n"
    )
    folders = ("--run", tmp_path / "run", "--tensorboard", tmp_path / "log")
    monkeypatch.setattr(
        "sys.argv", list(map(str, ["training", "train", "--config", recipe, "--data", archive, *folders]))
    )
    assert cli.main() == 0
    assert [epoch for epoch, _ in curves(tmp_path / "log")["validation/epoch_accuracy"]] == [1]


def test_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(history_log.importlib.util, "find_spec", lambda name: None)
    check_tensorboard(None)
    with pytest.raises(
        TrainingError, match=r"expected the package tensorboard. Received: .*requirements/tensorboard.txt"
    ):
        check_tensorboard(tmp_path)
