"""Run folders and manifests of version 1, whose configs have other names, can still be read and resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.datasets import tiny_config, write_votes
from tests.support.paths import REPOSITORY
from training.architectures.heads import Head, build_with_heads
from training.config import load_config, load_recorded_config, with_current_names
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Split
from training.errors import TrainingError
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")

# The `config.json` of a run of version 1, with small numbers.
CONFIG = """{
  "name": "tiny", "seed": 3, "epochs": 3, "batch_size": 16, "early_stopping_patience": null, "ema_momentum": 0.9,
  "precision": "float32",
  "model": {
    "architecture": "vgg", "widths": [4, 8], "convolutions_per_stage": 2, "stage_dropout": 0.1, "head_dropout": 0.2,
    "dense_units": null, "normalisation": null, "input_size_px": null, "pretrained": null, "freeze_base": null
  },
  "augment": {
    "flip_probability": 0.5, "rotation_degrees": 10.0, "zoom": [0.9, 1.1], "shift": 0.0, "brightness": 0.0,
    "contrast": 0.0, "erase_probability": 0.3, "erase_max_area": 0.2, "shear_degrees": 0.0, "crop": 0.0,
    "mixup_alpha": 0.0, "blur_probability": 0.0, "blur_max_sigma": 1.2, "noise_probability": 0.0,
    "noise_max_deviation": 12.0, "jpeg_probability": 0.0, "jpeg_min_quality": 25
  },
  "optimizer": {
    "name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01, "momentum": 0.9, "nesterov": true,
    "schedule": "cosine", "warmup_epochs": 1.0, "hold_epochs": 0.0, "decay_epochs": 1.0, "decay_factor": 0.1,
    "patience_epochs": 5
  },
  "loss": {"name": "cross_entropy", "focal_gamma": 2.0, "class_weights": "none", "label_smoothing": 0.1},
  "finish": null, "balance": {"oversample": false, "copies_up_to": {}}, "adversarial": null,
  "crowd": {"loss_weight": 1.0}, "teachers": null, "start": null, "progressive_sizes": [], "published": null
}"""
CURRENT = tiny_config(annotator_votes={"loss_weight": 1.0})


@pytest.fixture
def votes(dataset, tmp_path) -> AnnotatorVotes:
    names = sorted({name for split in Split for name in dataset[split].names})
    return AnnotatorVotes(write_votes(tmp_path / "votes.csv", dict.fromkeys(names, "0,9,0,0,1,0,0,0,0,0")))


def rewrite_as_version_1(run: RunFolder) -> None:
    """Give the files of a run of one epoch the names of version 1."""
    run.config.write_text(CONFIG)
    provenance = json.loads(run.provenance.read_text())
    del provenance["precision"]
    provenance["borrowed_weights"] = provenance.pop("parent_runs")
    provenance["config"] = json.loads(CONFIG)
    run.provenance.write_text(json.dumps(provenance))
    with np.load(run.checkpoint) as saved:
        arrays = {name: saved[name] for name in saved.files}
    state = str(arrays["state"]).replace("val_annotator_accuracy", "val_crowd_accuracy")
    assert "val_crowd_accuracy" in state
    np.savez(run.checkpoint, **(arrays | {"state": np.array(state)}))


def test_run_of_version_1_resumes_exactly(dataset, votes, tmp_path):
    whole, resumed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "resumed")
    train(CURRENT, dataset, whole, votes)
    train(CURRENT, dataset, resumed, votes, stop_after_epochs=1)
    rewrite_as_version_1(resumed)
    state = train(CURRENT.model_copy(update={"precision": "auto"}), dataset, resumed, votes)
    assert state.epochs_done == 3
    assert all("val_annotator_accuracy" in entry and "val_crowd_accuracy" not in entry for entry in state.history)
    with np.load(whole.checkpoint) as one, np.load(resumed.checkpoint) as other:
        for name in set(one.files) - {"state"}:
            np.testing.assert_array_equal(one[name], other[name])


def test_run_of_version_1_with_another_recipe_is_refused(dataset, votes, tmp_path):
    run = RunFolder(tmp_path)
    run.config.write_text(CONFIG)
    assert run.read_config() == CURRENT
    with pytest.raises(TrainingError, match="another config"):
        train(CURRENT.model_copy(update={"seed": 4}), dataset, run, votes)


def test_weights_of_version_1_fit_the_heads():
    """Weight files number the layers of a class: the annotators' head was and is the first dense layer."""
    heads = [layer.name for layer in build_with_heads(CURRENT).layers if layer.name in set(Head)]
    assert heads == [Head.ANNOTATORS, Head.ORIGINAL]


def test_toml_of_version_1_is_read(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(
        'name = "old"\nseed = 1\nepochs = 4\nbatch_size = 8\nstart = "runs/a-seed{seed}"\n'
        '[model]\narchitecture = "vgg"\n'
        "[optimizer]\nlearning_rate = 0.1\n[crowd]\nloss_weight = 2.0\n[teachers]\nruns = ['runs/b']\n"
        "[finish]\nfrom_epoch = 2\n[finish.optimizer]\nlearning_rate = 0.2\n"
    )
    config = load_config(path)
    assert [str(run) for run in config.parent_runs] == ["runs/a-seed1", "runs/b"]
    assert config.annotator_votes.loss_weight == 2.0
    assert config.fine_tuning.optimizer.learning_rate == 0.2


@pytest.mark.parametrize("path", sorted((REPOSITORY / "models").glob("*.manifest.json")), ids=lambda path: path.stem)
def test_config_in_a_shipped_manifest_is_read(path):
    record = json.loads(path.read_text())["provenance"]["config"]
    config = load_recorded_config(record)
    assert config.annotator_votes is not None
    assert config.warm_start is not None
    parent = with_current_names(record)["warm_start_config"]
    assert load_recorded_config(parent).annotator_votes is not None
