"""The schema of a config: defaults, refused values, and the copy in the run folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.contract.preprocess import CROP_SIZE_PX
from tests.support.datasets import tiny_config
from training.config import AugmentConfig, TrainConfig, load_config
from training.errors import TrainingError

SMALLEST = """
name = "smallest"
seed = 0
epochs = 1
batch_size = 1
[model]
architecture = "vgg"
widths = [4]
[optimizer]
learning_rate = 0.1
"""


def refusal(tmp_path, text: str) -> str:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(TrainingError) as caught:
        load_config(path)
    return str(caught.value)


def test_config_options_are_off_by_default(tmp_path):
    path = tmp_path / "smallest.toml"
    path.write_text(SMALLEST)
    config = load_config(path)
    amounts = {
        "erase_max_area",
        "cutmix_share",
        "blur_max_sigma",
        "noise_max_deviation",
        "jpeg_min_quality",
    }  # of changes with probability 0
    changing = AugmentConfig().model_dump(exclude=amounts)
    assert changing.pop("zoom") == (1.0, 1.0)
    assert set(changing.values()) == {0.0}
    assert config.augment == AugmentConfig()
    assert config.loss.label_smoothing == 0
    assert config.optimizer.weight_decay == 0
    assert config.ema_momentum is None
    assert config.early_stopping_patience is None
    assert config.precision == "auto"
    assert (config.warm_start, config.distillation) == (None, None)


def test_config_with_another_seed_has_the_parent_runs_of_that_seed(tmp_path):
    path = tmp_path / "chain.toml"
    path.write_text('start = "runs/a-seed{seed}"\n' + SMALLEST + '\n[distillation]\nruns = ["b/{seed}", "c"]\n')
    assert load_config(path).warm_start == Path("runs/a-seed0")
    config = load_config(path, seed=12)
    assert (config.seed, config.warm_start) == (12, Path("runs/a-seed12"))
    assert config.distillation.runs == (Path("b/12"), Path("c"))


@pytest.mark.parametrize(
    "section",
    ["speed = 3", "[loss]\nfocal = 2", "[augment]\nshear = 1", "[optimizer]\nlearning_rate = 1\nbeta = 0.9"],
)
def test_config_unknown_key_is_refused_in_every_section(tmp_path, section):
    key = section.splitlines()[-1].split(" ")[0]
    text = section + SMALLEST if "[" not in section else SMALLEST.partition("[optimizer]")[0] + section
    assert f"{key}: Extra inputs are not permitted" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"ema_momentum": 1.0}, "ema_momentum"),
        ({"early_stopping_patience": 0}, "early_stopping_patience"),
        ({"precision": "float8"}, "precision"),
        ({"model": {"architecture": "vgg", "widths": []}}, "widths"),
        ({"model": {"architecture": "vgg", "widths": [4], "head_dropout": 1.0}}, "head_dropout"),
        ({"augment": {"flip_probability": 1.1}}, "flip_probability"),
        ({"augment": {"erase_max_area": 0}}, "erase_max_area"),
        ({"optimizer": {"learning_rate": 0}}, "learning_rate"),
        ({"optimizer": {"learning_rate": float("nan")}}, "learning_rate"),
        ({"optimizer": {"learning_rate": 1, "name": "lion"}}, "name"),
        ({"optimizer": {"learning_rate": 1, "schedule": "linear"}}, "schedule"),
        ({"loss": {"label_smoothing": 1}}, "label_smoothing"),
        ({"progressive_sizes": [{"epoch": 0, "size_px": 8}]}, "size_px"),
    ],
)
def test_config_value_out_of_range_is_refused(changes, key):
    with pytest.raises(ValidationError) as caught:
        tiny_config(**changes)
    assert [error["loc"][-1] for error in caught.value.errors()] == [key]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = ", "not valid TOML"),
        ('name = "a"\nspeed = 3', "speed: Extra inputs are not permitted"),
        ('name = "A B"', "name: String should match"),
    ],
)
def test_load_config_bad_file_is_refused_by_key(tmp_path, text, sentence):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=sentence):
        load_config(path)


def test_load_config_names_every_problem_at_once(tmp_path):
    message = refusal(tmp_path, SMALLEST.replace("epochs = 1", "epochs = 0").replace("seed = 0", "seed = -5"))
    assert "epochs:" in message
    assert "seed:" in message
    assert "Received: -5" in message


def test_load_config_problem_of_the_whole_document_has_a_place(tmp_path):
    steps = "progressive_sizes = [{ epoch = 2, size_px = 32 }, { epoch = 1, size_px = 48 }]\n"
    assert "document: Value error, progressive_sizes must be in the order" in refusal(tmp_path, steps + SMALLEST)


def test_load_config_binary_file_is_refused(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(TrainingError, match="not valid TOML"):
        load_config(path)


def test_load_config_missing_file_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="No such file"):
        load_config(tmp_path / "none.toml")


def test_config_is_unchanged_by_the_json_of_the_run_folder():
    config = tiny_config(progressive_sizes=[{"epoch": 0, "size_px": 24}])
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"precision": "auto"}, True),
        ({"precision": "mixed_bfloat16"}, False),
        ({"published": {"source": "a report", "accuracy": 0.5}}, True),
        ({"seed": 4}, False),
    ],
)
def test_config_is_same_recipe_ignores_auto_and_the_published_system(changes, same):
    one, other = tiny_config(), tiny_config(**changes)
    assert one.is_same_recipe(other) is other.is_same_recipe(one) is same


def test_config_is_immutable():
    with pytest.raises(ValidationError):
        tiny_config().seed = 9


def test_config_size_is_that_of_the_last_step_reached():
    config = tiny_config(progressive_sizes=[{"epoch": 1, "size_px": 24}, {"epoch": 3, "size_px": 40}])
    assert [config.size_px(epoch) for epoch in range(5)] == [CROP_SIZE_PX, 24, 24, 40, 40]
    assert tiny_config().size_px(7) == CROP_SIZE_PX


@pytest.mark.parametrize("epochs", [(2, 1), (1, 1)])
def test_config_sizes_out_of_order_or_twice_are_refused(epochs):
    with pytest.raises(ValidationError, match="with each epoch once"):
        tiny_config(progressive_sizes=[{"epoch": epoch, "size_px": 24} for epoch in epochs])
