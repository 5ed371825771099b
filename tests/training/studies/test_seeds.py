"""Metrics of runs that differ only in their seed: mean, standard deviation, and refusal of other runs."""

from __future__ import annotations

import json
import statistics
import sys

import numpy as np
import pytest

from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from training import cli
from training.cli import options
from training.data.splits import Split
from training.errors import TrainingError
from training.export.card import write_card
from training.export.card_tables import seeds_table
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.studies.seeds import measure_seeds


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """The last runs of two chains with different seeds. Each chain has two runs."""
    folder = tmp_path_factory.mktemp("seeds")
    for seed in (1, 2):
        first = folder / f"first-seed{seed}"
        train(tiny_config(name="first", epochs=1, seed=seed), dataset, RunFolder(first))
        second = tiny_config(name="second", epochs=1, seed=seed, warm_start=first, distillation={"runs": [first]})
        train(second, dataset, RunFolder(folder / f"second-seed{seed}"))
    return [RunFolder(folder / f"second-seed{seed}") for seed in (1, 2)]


@pytest.fixture(scope="module")
def summary(runs, dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("summary") / "seeds.json"
    measured = measure_seeds(runs, dataset, path, precision="float32")
    assert json.loads(path.read_text()) == measured
    return measured


def test_summary_has_mean_and_standard_deviation_of_the_exported_files(runs, summary, dataset):
    assert (summary["recipe"], summary["seeds"]) == ("second", [1, 2])
    private = dataset[Split.PRIVATE_TEST]
    expected = [
        np.mean(
            EmotionSession(run.path / "second.onnx", "cpu", 1).logits(private.images).argmax(axis=1) == private.labels
        )
        for run in runs
    ]
    figure = summary["figures"]["PrivateTest accuracy"]
    assert figure["values"] == pytest.approx(expected)
    assert figure["mean"] == pytest.approx(np.mean(expected))
    assert figure["deviation"] == pytest.approx(statistics.stdev(map(float, expected)))
    assert f"| PrivateTest accuracy | {np.mean(expected):.2%} | " in seeds_table(summary)


def test_card_shows_the_seeds_of_its_recipe_or_of_half_its_width(runs, summary, tmp_path):
    model_path = runs[0].path / "second.onnx"

    def card(recipe: str) -> str:
        (tmp_path / "seeds.json").write_text(json.dumps(summary | {"recipe": recipe}))
        write_card(model_path, tmp_path / "card.md", tmp_path / "seeds.json")
        return (tmp_path / "card.md").read_text()

    for recipe in ("second", "second_half"):
        assert f"Runs of `{recipe}` (4-8 channels, 1 epochs" in card(recipe)
        assert seeds_table(summary | {"recipe": recipe}) in card(recipe)
    assert "Variation between seeds" not in card("first")
    write_card(model_path, tmp_path / "card.md", tmp_path / "none.json")
    assert "Variation between seeds" not in (tmp_path / "card.md").read_text()


def test_one_run_equal_seeds_and_two_recipes_are_refused(runs, dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"two or more runs with different seeds. Received: seeds \[1, 1\]"):
        measure_seeds([runs[0], runs[0]], dataset, tmp_path / "seeds.json")
    with pytest.raises(TrainingError, match="two or more runs"):
        measure_seeds(runs[:1], dataset, tmp_path / "seeds.json")
    other = RunFolder(tmp_path / "second-seed5")
    other.open_for(tiny_config(name="second", epochs=2, seed=5))
    with pytest.raises(TrainingError, match="differ in more than the seed"):
        measure_seeds([runs[0], other], dataset, tmp_path / "seeds.json")
    assert not (tmp_path / "seeds.json").exists()


def test_seeds_command_prints_the_table(runs, dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(options, "load_fer2013", lambda path: dataset)
    folders = [str(run.path) for run in runs]
    to = tmp_path / "results" / "seeds.json"
    arguments = ["training", "seeds", *folders, "--to", str(to), "--precision", "float32"]
    arguments += ["--data", str(tmp_path / "fer2013.zip"), "--votes", "no.csv"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert cli.main() == 2  # the file of the votes does not exist
    monkeypatch.setattr(sys, "argv", arguments[:-2])
    assert cli.main() == 0
    assert "seed 1 | seed 2 |" in capsys.readouterr().out
    assert json.loads(to.read_text())["precision"] == "float32"
