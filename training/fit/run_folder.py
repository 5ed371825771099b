"""A run folder: where one training keeps its config, history, checkpoint, weights and provenance.

Every file is replaced atomically, so an interrupted run always leaves the state of its last whole epoch.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from training.config import TrainConfig
from training.errors import TrainingError
from training.fit.precision import Policy
from training.fit.weight_average import WeightAverage

# Entries of the provenance that list the values of all sessions, in order, each value once.
_COLLECTED = {"commit", "precision"}
_SEPARATOR = ", "


@dataclass
class RunState:
    """What a run knows after a whole epoch, apart from the arrays.

    Attributes:
        epochs_done: Whole epochs trained.
        history: One entry per epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
        best_epoch: 0-based epoch of the best PublicTest accuracy so far; -1 before the first.
        best_val_accuracy: That accuracy, 0 to 1.
        wall_s: Seconds spent training, over all sittings.
    """

    epochs_done: int
    history: list[dict[str, float]]
    best_epoch: int
    best_val_accuracy: float
    wall_s: float

    @classmethod
    def fresh(cls) -> RunState:
        """The state before the first epoch."""
        return cls(epochs_done=0, history=[], best_epoch=-1, best_val_accuracy=0.0, wall_s=0.0)


class RunFolder:
    """The files of one run under one path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.history = path / "history.json"
        self.checkpoint = path / "checkpoint.npz"
        self.best_weights = path / "best.weights.h5"
        self.provenance = path / "provenance.json"
        self.report = path / "report.json"
        self.teachers_answers = path / "teachers.npz"

    def open_for(self, config: TrainConfig) -> None:
        """Create the folder with its config, or check that it holds a run of the same recipe.

        Raises:
            TrainingError: Another config was trained here.
        """
        if not self.config.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.config, config.model_dump_json(indent=2) + "\n")
        elif not self.read_config().is_same_recipe(config):
            raise TrainingError(
                f"{self.path} holds a run of another config ({self.config.name} differs)."
                " Name another folder with --run, or delete this one."
            )

    def read_config(self) -> TrainConfig:
        """The config that was trained here.

        Raises:
            TrainingError: This is no run folder, or its config is of another version of the schema.
        """
        try:
            return TrainConfig.model_validate_json(self.config.read_text(encoding="utf-8"))
        except OSError as error:
            raise TrainingError(f"{self.path} is no run folder: it has no {self.config.name}.") from error
        except ValueError as error:
            raise TrainingError(f"{self.config} does not fit this version's schema: {error}") from error

    def save_checkpoint(self, model: keras.Model, average: WeightAverage | None, state: RunState) -> None:
        """Writes everything that the next epoch depends on: weights, optimiser and the average of the weights."""
        variables = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in _variables(model)]
        averages = average.arrays() if average is not None else []
        arrays = {f"array_{index:04d}": array for index, array in enumerate(variables + averages)}
        unfinished = self.checkpoint.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(vars(state))), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.checkpoint)
        write_json(self.history, state.history)

    def epochs_done(self) -> int:
        """Whole epochs in the checkpoint; 0 where there is none or where it is damaged, which loading it will say."""
        try:
            with self.checkpoint.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                return int(json.loads(str(saved["state"]))["epochs_done"])
        except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError):
            return 0

    def load_checkpoint(self, model: keras.Model, average: WeightAverage | None) -> RunState:
        """Puts a compiled, built model and its average back to its last whole epoch; a fresh state where there is none.

        Raises:
            TrainingError: The checkpoint is damaged or is of another network.
        """
        if not self.checkpoint.exists():
            return RunState.fresh()
        variables = _variables(model)
        try:
            with self.checkpoint.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                arrays = [saved[name] for name in sorted(saved.files) if name != "state"]
                state = RunState(**json.loads(str(saved["state"])))
        except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
            raise TrainingError(f"{self.checkpoint} is damaged: {error}. Delete it to train from the start.") from error
        expected = len(variables) + (len(model.weights) if average is not None else 0)
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
        for variable, array in zip(variables, arrays, strict=False):
            variable.assign(array)
        if average is not None:
            average.restore(arrays[len(variables) :])
        return state

    def read_precision(self) -> Policy | None:
        """Return the dtype policy of the epochs trained so far; None before the first run of this folder."""
        provenance = self._read_provenance()
        if not provenance:
            return None
        if "precision" in provenance:
            return cast(Policy, provenance["precision"].split(_SEPARATOR)[-1])
        requested = self.read_config().precision  # version 1 recorded no precision: it used the requested one
        return None if requested == "auto" else requested

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """Write the origin of this run. Commits and precisions of earlier sessions stay, in front of the new ones."""
        earlier = self._read_provenance()
        for key in _COLLECTED & provenance.keys() & earlier.keys():
            values = earlier[key].split(_SEPARATOR)
            new = [provenance[key]] if provenance[key] not in values else []
            provenance = provenance | {key: _SEPARATOR.join([*values, *new])}
        write_json(self.provenance, provenance)

    def _read_provenance(self) -> dict[str, Any]:
        if not self.provenance.exists():
            return {}
        provenance: dict[str, Any] = json.loads(self.provenance.read_text(encoding="utf-8"))
        return provenance


def write_text(path: Path, text: str) -> None:
    """Replaces a file atomically."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Replaces a file atomically with indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def _variables(model: keras.Model) -> list[keras.Variable]:
    # Model variables include the states of random generators (dropout); optimiser variables include iterations,
    # and moments. Metrics start anew in each epoch.
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics] + model.optimizer.variables
