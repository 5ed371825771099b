"""A run folder: the config, history, checkpoint, weights and provenance of one training run.

Every file is replaced atomically, so an interrupted run always leaves the state of its last whole epoch.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import numpy.typing as npt

from training.config import TrainConfig, load_recorded_config, with_current_names
from training.errors import TrainingError
from training.files import DAMAGED_ARRAYS, write_arrays, write_json, write_text
from training.fit.precision import Policy
from training.fit.weight_average import StoredWeights

# Entries of the provenance that list the values of all sessions, in order, each value once.
_COLLECTED = {"commit", "precision"}
_SEPARATOR = ", "


@dataclass
class RunState:
    """The state of a run after a whole epoch, without its arrays.

    Attributes:
        epochs_done: Whole epochs trained.
        history: One entry per epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
        best_epoch: 0-based epoch of the best PublicTest accuracy so far; -1 before the first epoch.
        best_val_accuracy: The best PublicTest accuracy, 0 to 1.
        wall_s: Seconds of training over all sessions.
    """

    epochs_done: int
    history: list[dict[str, float]]
    best_epoch: int
    best_val_accuracy: float
    wall_s: float

    @classmethod
    def fresh(cls) -> RunState:
        """Return the state before the first epoch."""
        return cls(epochs_done=0, history=[], best_epoch=-1, best_val_accuracy=0.0, wall_s=0.0)


class RunFolder:
    """The files of one run.

    Args:
        path: The folder; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.history = path / "history.json"
        self.history_table = path / "history.csv"
        self.checkpoint = path / "checkpoint.npz"
        self.best_weights = path / "best.weights.h5"
        self.averaged_weights = path / "averaged.weights.h5"
        self.provenance = path / "provenance.json"
        self.report = path / "report.json"
        self.distillation_answers = path / "distillation.npz"

    def open_for(self, config: TrainConfig) -> None:
        """Create the folder with its config, or check that it contains a run of the same recipe.

        Raises:
            TrainingError: The folder contains a run of another config.
        """
        if not self.config.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.config, config.model_dump_json(indent=2) + "\n")
        elif not self.read_config().is_same_recipe(config):
            raise TrainingError(
                f"{self.path} contains a run of another config ({self.config.name} differs)."
                " Name another folder with --run, or delete this one."
            )

    def check_empty(self) -> None:
        """Check that the folder is empty or missing, so that a run can be written into it.

        Raises:
            TrainingError: The folder contains a file, or the path is a file.
        """
        if self.path.is_file() or (self.path.exists() and any(self.path.iterdir())):
            raise TrainingError(f"{self.path} is not an empty folder. Name another folder with --to.")

    def read_config(self) -> TrainConfig:
        """Return the config of the run.

        Raises:
            TrainingError: The path is not a run folder, or its config is of another version of the schema.
        """
        try:
            record = json.loads(self.config.read_text(encoding="utf-8"))
        except OSError as error:
            raise TrainingError(f"{self.path} is not a run folder: it has no {self.config.name}.") from error
        except ValueError as error:
            raise TrainingError(f"{self.config} is not valid JSON: {error}") from error
        try:
            return load_recorded_config(record)
        except TrainingError as error:
            raise TrainingError(f"{self.config}: {error}") from error

    def read_provenance(self) -> dict[str, Any]:
        """Return the provenance with the current names of its keys; empty if the run has none yet."""
        if not self.provenance.exists():
            return {}
        provenance: dict[str, Any] = with_current_names(json.loads(self.provenance.read_text(encoding="utf-8")))
        return provenance

    def read_precision(self) -> Policy | None:
        """Return the dtype policy of the latest session; None before the first."""
        provenance = self.read_provenance()
        if not provenance:
            return None
        if "precision" in provenance:
            return cast(Policy, provenance["precision"].split(_SEPARATOR)[-1])
        requested = self.read_config().precision  # version 1 recorded no precision: it used the requested one
        return None if requested == "auto" else requested

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """Write the origin of this run. Commits and precisions of earlier sessions stay, before the new ones."""
        earlier = self.read_provenance()
        for key in _COLLECTED & provenance.keys() & earlier.keys():
            values = earlier[key].split(_SEPARATOR)
            new = [provenance[key]] if provenance[key] not in values else []
            provenance = provenance | {key: _SEPARATOR.join([*values, *new])}
        write_json(self.provenance, provenance)

    @property
    def result_weights(self) -> Path:
        """The weights that the run is for: the mean of the last epochs, or those of the best epoch."""
        return self.best_weights if self.read_config().averaged_epochs is None else self.averaged_weights

    def save_weights(self, model: keras.Model, path: Path) -> None:
        """Replace one of the weights files by the weights of a model."""
        unfinished = self.path / "unfinished.weights.h5"
        model.save_weights(unfinished)
        unfinished.replace(path)

    def save_checkpoint(self, model: keras.Model, averages: Sequence[StoredWeights], state: RunState) -> None:
        """Write everything that the next epoch depends on: weights, optimiser, averages of the weights, state."""
        variables = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in _variables(model)]
        averaged = [array for average in averages for array in average.arrays()]
        arrays = {f"array_{index:04d}": array for index, array in enumerate(variables + averaged)}
        write_arrays(self.checkpoint, {"state": np.array(json.dumps(vars(state))), **arrays})
        write_json(self.history, state.history)
        write_text(self.history_table, _as_csv(state.history))

    def epochs_done(self) -> int:
        """Return the number of epochs in the checkpoint; 0 if it is missing or damaged."""
        try:
            with self.checkpoint.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                return int(json.loads(str(saved["state"]))["epochs_done"])
        except DAMAGED_ARRAYS:
            return 0

    def load_checkpoint(self, model: keras.Model, averages: Sequence[StoredWeights]) -> RunState:
        """Set a compiled, built model and its averages to the last whole epoch.

        Returns:
            The state after that epoch; without a checkpoint a fresh state, and the model is unchanged.

        Raises:
            TrainingError: The checkpoint is damaged, or is of another network.
        """
        if not self.checkpoint.exists():
            return RunState.fresh()
        try:
            with self.checkpoint.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                arrays = [saved[name] for name in sorted(saved.files) if name != "state"]
                state = RunState(**with_current_names(json.loads(str(saved["state"]))))
        except DAMAGED_ARRAYS as error:
            raise TrainingError(f"{self.checkpoint} is damaged: {error}. Delete it to train from the start.") from error
        variables = _variables(model)
        self._check_arrays(arrays, variables, len(averages) * len(model.weights))
        for variable, array in zip(variables, arrays, strict=False):
            variable.assign(array)
        for index, average in enumerate(averages):
            start = len(variables) + index * len(model.weights)
            average.restore(arrays[start : start + len(model.weights)])
        return state

    def _check_arrays(self, arrays: list[npt.NDArray[Any]], variables: list[keras.Variable], averages: int) -> None:
        expected = len(variables) + averages
        if len(arrays) != expected:
            raise TrainingError(
                f"{self.checkpoint} does not fit the network: expected {expected} arrays. Received: {len(arrays)}"
            )
        for variable, array in zip(variables, arrays, strict=False):
            if tuple(variable.shape) != array.shape:
                raise TrainingError(
                    f"{self.checkpoint} does not fit the network: expected shape {tuple(variable.shape)}"
                    f" for {variable.path}. Received: {array.shape}"
                )


def _as_csv(history: list[dict[str, float]]) -> str:
    """Return the history as CSV with the epoch (1-based) and one column for each figure."""
    table = io.StringIO()
    columns = list(dict.fromkeys(name for entry in history for name in entry))
    writer = csv.DictWriter(table, ["epoch", *columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"epoch": epoch} | entry for epoch, entry in enumerate(history, start=1))
    return table.getvalue()


def _variables(model: keras.Model) -> list[keras.Variable]:
    # The variables of a model include the states of random generators (dropout), those of an optimiser its iterations
    # and moments. Metrics are reset in each epoch, so they are left out.
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [variable for variable in model.variables if id(variable) not in metrics]
    return [*variables, *model.optimizer.variables]
