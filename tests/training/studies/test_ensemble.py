"""Ensembles: combination of predictions, and checks of the config and the members."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.datasets import tiny_config
from training.errors import TrainingError
from training.fit.run_folder import RunFolder
from training.studies.ensemble import EnsembleConfig, combine, export_ensemble, load_ensemble


def constant_network(logits: list[float], name: str) -> keras.Model:
    """A network with the same logits for every image."""
    image = keras.Input((48, 48, 1), dtype="uint8", name="image")
    zero = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(0.0)(image))
    dense = keras.layers.Dense(7, name=f"{name}_logits")
    model = keras.Model(image, dense(zero))
    dense.set_weights([np.zeros((1, 7)), np.array(logits)])
    return model


def test_majority_counts_members_regardless_of_confidence():
    confident = constant_network([9, 0, 0, 0, 0, 0, 0], "confident")
    unsure = [constant_network([0, 0.4, 0, 0, 0, 0, 0], f"unsure{index}") for index in range(2)]
    image = np.zeros((1, 48, 48, 1), np.uint8)
    models, shares = [confident, *unsure], [1 / 3] * 3
    assert combine(models, "weighted", shares).predict(image, verbose=0).argmax() == 0
    majority = combine(models, "majority", shares).predict(image, verbose=0)[0]
    assert majority.argmax() == 1
    assert np.exp(majority).sum() == pytest.approx(1, abs=1e-4)


def test_invalid_ensemble_config_is_refused(tmp_path):
    path = tmp_path / "ensemble.toml"
    path.write_text('name = "e"\nmembers = ["a", "b"]\nweights = [1]\n')
    with pytest.raises(TrainingError, match="as many as members"):
        load_ensemble(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_ensemble(tmp_path / "none.toml")


def test_ensemble_of_an_unfinished_run_is_refused(dataset, tmp_path):
    RunFolder(tmp_path / "a").open_for(tiny_config())
    ensemble = EnsembleConfig(name="e", members=(tmp_path / "a", tmp_path / "a"))
    with pytest.raises(TrainingError, match="is not a finished run"):
        export_ensemble(ensemble, dataset, tmp_path / "e.onnx")
