"""Hyper-parameter search: it varies the named options, maximises PublicTest accuracy and resumes."""

from __future__ import annotations

import json

import optuna
import pytest

import training.studies.tune as tune_module
from tests.support.datasets import tiny_config
from tests.support.paths import REPOSITORY
from training.config import load_config
from training.errors import TrainingError
from training.studies.study import StudyConfig, load_study, trial_recipe
from training.studies.tune import tune

TEXT = """
name = "study"
base = "base.toml"
seed = 0
trials = 3
epochs = 2
warmup_trials = 5
[parameters."optimizer.learning_rate"]
low = 1e-4
high = 1e-1
scale = "log"
[parameters."model.head_dropout"]
choices = [0.0, 0.5]
"""

BASE = """
name = "base"
seed = 1
epochs = 9
batch_size = 16
[model]
architecture = "vgg"
widths = [4]
convolutions_per_stage = 1
[optimizer]
learning_rate = 0.01
"""


@pytest.fixture
def study(tmp_path) -> StudyConfig:
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "study.toml").write_text(TEXT)
    return load_study(tmp_path / "study.toml")


def test_interrupted_search_resumes_and_keeps_its_trials(study, dataset, tmp_path, monkeypatch):
    folder, epochs = tmp_path / "out", 0
    original = tune_module.train

    def interrupt(*arguments, **options):
        nonlocal epochs
        epochs += 1
        if epochs == 4:  # in the second trial, of two epochs each
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(tune_module, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tune(study, dataset, folder)
    summary = tune(study, dataset, folder)
    assert epochs == 7  # 3 epochs, the interrupted one, then 1 + 2: no epoch is trained twice
    assert len(summary["trials"]) == 3
    values = [trial["parameters"] for trial in summary["trials"]]
    assert len({value["optimizer.learning_rate"] for value in values}) == 3
    for value in values:
        assert 1e-4 <= value["optimizer.learning_rate"] <= 1e-1
        assert value["model.head_dropout"] in {0.0, 0.5}
    assert summary["best"]["val_accuracy"] == max(trial["val_accuracy"] for trial in summary["trials"])
    assert json.loads((folder / "study.json").read_text()) == summary
    for plot in ("history", "slices"):
        assert (folder / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(tune_module, "train", lambda *arguments, **options: pytest.fail("trained again"))
    assert tune(study, dataset, folder)["best"] == summary["best"]


def test_trial_trains_the_reported_values(study, dataset, tmp_path, monkeypatch):
    recipes = []
    original = tune_module.train

    def record_recipe(recipe, *arguments, **options):
        recipes.append(recipe)
        return original(recipe, *arguments, **options)

    monkeypatch.setattr(tune_module, "train", record_recipe)
    summary = tune(study.model_copy(update={"trials": 1}), dataset, tmp_path / "out")
    (trial,) = summary["trials"]
    assert recipes[0].optimizer.learning_rate == trial["parameters"]["optimizer.learning_rate"]
    assert recipes[0].model.head_dropout == trial["parameters"]["model.head_dropout"]
    assert recipes[0].epochs == 2


def test_tune_uses_bayesian_optimisation(study, dataset, tmp_path, monkeypatch):
    used = []
    original = optuna.create_study

    def record_sampler(**options):
        used.append(options["sampler"])
        return original(**options)

    monkeypatch.setattr(optuna, "create_study", record_sampler)
    tune(study.model_copy(update={"trials": 1, "epochs": 1}), dataset, tmp_path / "out")
    assert isinstance(used[0], optuna.samplers.TPESampler)


def test_unknown_option_and_invalid_value_are_refused(study):
    with pytest.raises(TrainingError, match=r"optimizer\.speed is not an option"):
        trial_recipe(tiny_config(), study, {"optimizer.speed": 1})
    with pytest.raises(TrainingError, match=r"fine_tuning\.from_epoch is not an option"):
        trial_recipe(tiny_config(), study, {"fine_tuning.from_epoch": 1})
    with pytest.raises(TrainingError, match="label_smoothing"):
        trial_recipe(tiny_config(), study, {"loss.label_smoothing": 3})


def test_search_without_a_finished_trial_is_refused(study, dataset, tmp_path, monkeypatch):
    def diverge(*arguments, **options):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr(tune_module, "train", diverge)
    with pytest.raises(TrainingError, match="no trial of study finished"):
        tune(study, dataset, tmp_path / "out")


@pytest.mark.parametrize("bad", ["low = 1", "low = 2\nhigh = 1", "low = 1\nhigh = 2\nchoices = [1]", ""])
def test_invalid_parameter_is_refused(tmp_path, bad):
    (tmp_path / "study.toml").write_text(TEXT.partition('[parameters."model')[0] + '[parameters."epochs"]\n' + bad)
    with pytest.raises(TrainingError, match=r"parameters.epochs: Value error, (a parameter has|low must be)"):
        load_study(tmp_path / "study.toml")


def test_shipped_study_is_valid():
    for path in (REPOSITORY / "training" / "configs" / "studies").glob("*.toml"):
        study = load_study(path)
        assert study.name == path.stem
        values = {name: at.low if at.low is not None else at.choices[0] for name, at in study.parameters.items()}
        trial_recipe(load_config(study.base), study, values)
