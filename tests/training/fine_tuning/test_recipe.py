"""The config of a fine-tuning run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets import tiny_config
from training.errors import TrainingError
from training.fine_tuning.recipe import DEFAULT_RECIPE, build_config, epochs_for


def build(recipe: Path = DEFAULT_RECIPE, images: int = 2000, **changes):
    options = {"name": "mine", "seed": None, "epochs": None, "frozen_layers": ()} | changes
    return build_config(recipe, tiny_config().model, Path("runs/base"), images, **options)


def test_default_recipe_has_the_network_of_the_model():
    config = build()
    assert (config.name, config.model, config.warm_start) == ("mine", tiny_config().model, Path("runs/base"))
    assert config.epochs == epochs_for(2000)
    assert config.batch_size == 64


def test_fewer_images_have_more_epochs_and_smaller_batches():
    numbers = [epochs_for(images) for images in (100, 500, 2_000, 10_000, 40_000, 100_000)]
    assert numbers == sorted(numbers, reverse=True)
    assert (numbers[0], numbers[-1]) == (20, 4)
    assert build(images=80).batch_size == 10
    assert build(images=3).batch_size == 1


def test_options_replace_the_recipe(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "seed = 5\nepochs = 7\nbatch_size = 32\nfrozen_layers = ['block1']\noptimizer.learning_rate = 1e-3"
    )
    assert build(recipe).epochs == 7
    assert build(recipe).seed == 5
    changed = build(recipe, epochs=2, seed=0, frozen_layers=["block2"])
    assert (changed.epochs, changed.seed, changed.frozen_layers) == (2, 0, ("block1", "block2"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = 'x'", r"expected no name, model, warm_start, .* Received: name"),
        ("batch_size = 0", "batch_size: Input should be greater than or equal to 1"),
        ("epoch = 3", "epoch: Extra inputs are not permitted"),
        ("=", "is not valid TOML"),
    ],
)
def test_bad_recipe_is_refused(tmp_path, text, sentence):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    with pytest.raises(TrainingError, match=sentence):
        build(recipe)
    with pytest.raises(TrainingError, match="cannot be read"):
        build(tmp_path / "none.toml")


def test_epochs_option_is_checked():
    with pytest.raises(TrainingError, match=r"epochs: Input should be greater than or equal to 1. Received: 0"):
        build(epochs=0)
