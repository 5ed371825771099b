"""The run folder: a crash loses at most an epoch, and files of another run are refused."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import training.fit.run_folder as run_module
from tests.support.datasets import tiny_config
from training.errors import TrainingError
from training.files import write_text
from training.fit.compiling import compile_model
from training.fit.run_folder import RunFolder, RunState
from training.fit.weight_average import WeightAverage


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def run(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.open_for(tiny_config())
    return folder


STATE = RunState(
    epochs_done=2, history=[{"loss": 1.5}, {"loss": 1.25}], best_epoch=1, best_val_accuracy=0.5, wall_s=3.0
)


def weights_of(model: keras.Model) -> list[np.ndarray]:
    variables = [*model.weights, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def scramble(model: keras.Model, value: float) -> None:
    for variable in [*model.weights, *model.optimizer.variables]:
        variable.assign(keras.ops.cast(keras.ops.ones_like(variable) * value, variable.dtype))


def test_checkpoint_restores_weights_optimizer_average_and_state(run):
    model = compile_model(tiny_config(), 4)
    scramble(model, 3)
    average = WeightAverage(model, 0.9)
    scramble(model, 2)
    run.save_checkpoint(model, [average], STATE)
    other = compile_model(tiny_config(), 4)
    other_average = WeightAverage(other, 0.9)
    assert run.load_checkpoint(other, [other_average]) == STATE
    for one, two in zip(weights_of(model), weights_of(other), strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype
    assert all((array == 3).all() for array in other_average.arrays())
    assert json.loads(run.history.read_text()) == STATE.history


def test_checkpoint_has_the_random_state_of_dropout(run):
    model = compile_model(tiny_config(), 4)
    seeds = [variable for variable in model.non_trainable_variables if "seed" in variable.path]
    assert len(seeds) == 3  # two stages and the head
    seeds[0].assign(keras.ops.ones_like(seeds[0]) * 77)
    run.save_checkpoint(model, [], STATE)
    other = compile_model(tiny_config(), 4)
    run.load_checkpoint(other, [])
    restored = [variable for variable in other.non_trainable_variables if "seed" in variable.path]
    assert (keras.ops.convert_to_numpy(restored[0]) == 77).all()


def test_checkpoint_absent_is_a_fresh_state(run):
    model = compile_model(tiny_config(), 4)
    before = weights_of(model)
    assert run.load_checkpoint(model, []) == RunState.fresh()
    for one, two in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_checkpoint_of_other_widths_is_refused_and_changes_nothing(run):
    narrow, wide = (
        compile_model(tiny_config(model={"architecture": "vgg", "widths": widths}), 4) for widths in ([4, 6], [4, 8])
    )
    run.save_checkpoint(wide, [], STATE)
    before = weights_of(narrow)
    with pytest.raises(
        TrainingError, match=r"expected shape \(3, 3, 4, 6\) for .*block2_conv1.*Received: \(3, 3, 4, 8\)"
    ):
        run.load_checkpoint(narrow, [])
    for one, two in zip(before, weights_of(narrow), strict=True):
        np.testing.assert_array_equal(one, two)


def test_checkpoint_of_another_depth_is_refused(run):
    run.save_checkpoint(compile_model(tiny_config(), 4), [], STATE)
    deeper = compile_model(tiny_config(model={"architecture": "vgg", "widths": [4, 8, 8]}), 4)
    with pytest.raises(TrainingError, match=r"expected \d+ arrays. Received: \d+"):
        run.load_checkpoint(deeper, [])


def test_checkpoint_without_the_average_it_needs_is_refused(run):
    model = compile_model(tiny_config(), 4)
    run.save_checkpoint(model, [], STATE)
    with pytest.raises(TrainingError, match="does not fit"):
        run.load_checkpoint(model, [WeightAverage(model, 0.9)])


def test_checkpoint_write_that_fails_keeps_the_earlier_checkpoint(run, monkeypatch):
    model = compile_model(tiny_config(), 4)
    run.save_checkpoint(model, [], STATE)
    written = run.checkpoint.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"half a checkp")
        raise OSError("No space left on device")

    monkeypatch.setattr(run_module.np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        run.save_checkpoint(model, [], RunState.fresh())
    assert run.checkpoint.read_bytes() == written


def test_write_text_replaces_the_whole_file(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "a long first text")
    write_text(path, "short")
    assert path.read_text() == "short"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_open_for_the_same_config_again_is_accepted(run):
    run.open_for(tiny_config())
    assert run.read_config() == tiny_config()


def test_open_for_another_config_is_refused_and_keeps_the_first(run):
    with pytest.raises(TrainingError, match="Name another folder"):
        run.open_for(tiny_config(epochs=9))
    assert run.read_config() == tiny_config()


def test_read_config_of_another_folder_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="is not a run folder"):
        RunFolder(tmp_path).read_config()


def test_read_config_of_another_schema_is_refused(run):
    table = json.loads(run.config.read_text()) | {"retired_option": 1}
    run.config.write_text(json.dumps(table))
    with pytest.raises(TrainingError, match="does not fit this version's schema"):
        run.read_config()


def test_provenance_lists_the_commit_of_every_session_once(run):
    for commit in ("aaa", "aaa", "bbb", "aaa"):
        run.write_provenance({"commit": commit, "python": "3"})
    assert json.loads(run.provenance.read_text()) == {"commit": "aaa, bbb", "python": "3"}
