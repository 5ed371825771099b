"""The shipped configs: each builds its network, and every published system has one."""

from __future__ import annotations

import keras
import pytest

from tests.support.paths import REPOSITORY
from training import architectures
from training.architectures import ARCHITECTURES
from training.config import load_config
from training.studies.ensemble import load_ensemble

CONFIGS = {path.stem: path for path in (REPOSITORY / "training" / "configs").glob("*.toml")}

# Config -> accuracy that the report of the published system states.
PUBLISHED = {
    "cnn_basic": 0.58,
    "resnet_small": 0.60,
    "vgg_report": 0.62,
    "cnn_four_layer": 0.6208,
    "cnn_batchnorm": 0.539,
    "resnet_simple": 0.609,
    "googlenet": 0.484,
    "unet": 0.607,
    "newnet": 0.606,
    "roglenet": 0.636,
    "resnet50": 0.2481,
    "cbam": 0.2641,
    "mobilenet_v2": 0.5054,
    "mobilenet_v2_fresh": 0.5054,  # without ImageNet weights
    "cnn_three_block": 0.5953,
}


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


def test_every_published_system_has_a_recipe_with_its_reported_figure():
    found = {key: load_config(path).published for key, path in CONFIGS.items()}
    assert {key: published.accuracy for key, published in found.items() if published} == PUBLISHED


def test_every_architecture_has_a_recipe():
    assert {load_config(path).model.architecture for path in CONFIGS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("key", sorted(CONFIGS.keys() - {"resnet50", "mobilenet_v2"}))
def test_recipe_sets_only_options_that_its_network_has(key):
    architectures.build(load_config(CONFIGS[key]).model)


@pytest.mark.parametrize("key", ["resnet50", "mobilenet_v2"])
def test_recipe_of_an_imagenet_network_names_its_weights(key):
    config = load_config(CONFIGS[key])
    assert config.model.pretrained == "imagenet"
    small = config.model.model_copy(update={"input_size_px": 32})
    only_the_head_learns = len(architectures.build(small).trainable_weights) == 5
    assert only_the_head_learns == (key == "resnet50")


def test_shared_recipe_accepts_every_architecture_with_its_defaults():
    fair = load_config(CONFIGS["fair"])
    for key in ARCHITECTURES:
        config = fair.with_architecture(key)
        assert config.name == f"fair_{key}"
        assert config.model.architecture == key
        assert config.augment == fair.augment
    assert fair.with_architecture("cnn_basic").model.widths is None


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "training/configs/half").glob("*.toml")), ids=lambda path: path.stem
)
def test_half_recipe_has_half_the_width_and_a_third_of_the_epochs(path):
    def half(number: int) -> int:
        return -(-number // 2)

    def third(number: int) -> int:
        return round(number / 3)

    def folders(runs: list[str]) -> list[str]:
        return [run.replace("-seed", "_half-seed") for run in runs]

    expected = load_config(CONFIGS[path.stem]).model_dump(mode="json")
    expected["name"] += "_half"
    expected["epochs"] = third(expected["epochs"])
    expected["model"]["widths"] = [half(width) for width in expected["model"]["widths"]]
    for step in expected["progressive_sizes"]:
        step["epoch"] = third(step["epoch"])
    if expected["warm_start"] is not None:
        [expected["warm_start"]] = folders([expected["warm_start"]])
    if expected["distillation"] is not None:
        expected["distillation"]["runs"] = folders(expected["distillation"]["runs"])
    assert load_config(path).model_dump(mode="json") == expected


def test_ensembles_have_members_with_a_config():
    runs = {f"runs/{config.name}-seed{config.seed}" for config in map(load_config, CONFIGS.values())}
    paths = list((REPOSITORY / "training/configs/ensembles").glob("*.toml"))
    assert paths
    for path in paths:
        ensemble = load_ensemble(path)
        assert ensemble.name == path.stem
        assert set(map(str, ensemble.members)) <= runs
