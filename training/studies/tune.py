"""Searches for better values of named options of a recipe: Bayesian optimisation on PublicTest, resumable.

Every trial is a run folder named after its recipe, so a trial that was interrupted goes on where it stopped.
PrivateTest is never read here.
"""

from __future__ import annotations

import hashlib
import tomllib
import warnings
from pathlib import Path
from typing import Any, Literal, Self

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import optuna
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from optuna.visualization import matplotlib as drawing
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from training.config import TrainConfig, load_config
from training.data.annotator_votes import VotesFile
from training.data.fer2013 import Fer2013
from training.errors import TrainingError
from training.evaluation import plots
from training.fit.run_folder import RunFolder, write_json
from training.fit.train import train

_LEAST_TRIALS_FOR_IMPORTANCE = 2
_RAISED = "accuracy on PublicTest"
_SLICE_WIDTH_IN, _SLICE_HEIGHT_IN = 3.6, 4.0


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterConfig(_Section):
    """Where one option is searched: a range, or a list of choices."""

    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    choices: tuple[bool | int | float | str, ...] = ()

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        ranged = self.low is not None and self.high is not None
        if ranged == bool(self.choices) or (self.low is None) != (self.high is None):
            raise ValueError("a parameter has either low and high, or choices")
        if ranged and not self.low < self.high:  # type: ignore[operator]
            raise ValueError("low must be below high")
        return self


class StudyConfig(_Section):
    """One search.

    Attributes:
        base: The recipe that is varied, a path beside this file.
        epochs: Of every trial, instead of the base's.
        parameters: By dotted name in the recipe, as `optimizer.learning_rate`.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    base: Path
    seed: int = Field(ge=0)
    trials: PositiveInt
    epochs: PositiveInt
    warmup_trials: PositiveInt = Field(default=5, description="drawn at random, and none of them stopped early")
    parameters: dict[str, ParameterConfig] = Field(min_length=1)


def load_study(path: Path) -> StudyConfig:
    """Reads and checks a TOML file.

    Raises:
        TrainingError: It is missing, is no TOML or breaks the schema.
    """
    try:
        study = StudyConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TrainingError(f"study {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise TrainingError(f"study {path} is not valid: {error}") from error
    return study.model_copy(update={"base": path.parent / study.base})


def tune(config: StudyConfig, dataset: Fer2013, folder: Path, votes: VotesFile | None = None) -> dict[str, Any]:
    """Runs the search until it has its trials, going on with what the folder holds.

    Args:
        config: The search.
        dataset: Training is learned from; the accuracy on PublicTest is what is raised.
        folder: Of the journal, the trials' runs, `study.json` and the plots.
        votes: For a base with a crowd head.

    Returns:
        What `study.json` holds: the best values and all trials.

    Raises:
        TrainingError: A named option is none of the recipe, a value is out of its range, or no trial came to its end.
    """
    base = load_config(config.base)
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        done = _count_done(storage, config.name)
        study = optuna.create_study(
            study_name=config.name,
            storage=storage,
            load_if_exists=True,
            direction="maximize",
            # Another seed in every sitting: the same one would draw the same values again.
            sampler=optuna.samplers.TPESampler(seed=config.seed + done, n_startup_trials=config.warmup_trials),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=config.warmup_trials, n_warmup_steps=config.epochs // 3
            ),
        )
        _requeue_interrupted(study)
        while _finished(study) < config.trials:
            trial = study.ask()
            recipe = recipe_of(
                base, config, {name: _suggest(trial, name, at) for name, at in config.parameters.items()}
            )
            _run(study, trial, recipe, dataset, RunFolder(folder / recipe.name), votes)
        if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            raise TrainingError(f"no trial of {config.name} came to its end; their output above says why")
        summary = _summary(study, config)
        write_json(folder / "study.json", summary)
        _draw(study, folder)
    return summary


def recipe_of(base: TrainConfig, config: StudyConfig, values: dict[str, Any]) -> TrainConfig:
    """The base with other values, under a name that tells them apart.

    Raises:
        TrainingError: An option is unknown, or a value breaks the recipe's schema.
    """
    table = base.model_dump(mode="json") | {"epochs": config.epochs}
    for name, value in values.items():
        section: Any = table
        *path, last = name.split(".")
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            raise TrainingError(f"study {config.name}: {name} is no option of the recipe {base.name}")
        section[last] = value
    digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:10]
    try:
        return TrainConfig.model_validate(table | {"name": f"{config.name}_{digest}"})
    except ValidationError as error:
        raise TrainingError(f"study {config.name}, {values}: {error}") from error


def _suggest(trial: optuna.Trial, name: str, parameter: ParameterConfig) -> Any:
    if parameter.choices:
        return trial.suggest_categorical(name, parameter.choices)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.scale == "log")


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    recipe: TrainConfig,
    dataset: Fer2013,
    run: RunFolder,
    votes: VotesFile | None,
) -> None:
    """Trains one trial epoch by epoch; a hopeless or diverging one is stopped."""
    print(f"== trial {trial.number}: {trial.params} ==", flush=True)
    reported = 0
    while True:
        try:
            state = train(recipe, dataset, run, votes, stop_after_epochs=1)
        except TrainingError as error:
            print(f"  stopped: {error}", flush=True)
            study.tell(trial, state=TrialState.PRUNED)
            return
        for epoch, entry in enumerate(state.history[reported:], start=reported + 1):
            trial.report(entry["val_accuracy"], epoch)
        reported = len(state.history)
        if run.report.exists():
            study.tell(trial, state.best_val_accuracy)
            return
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return


def _count_done(storage: JournalStorage, name: str) -> int:
    try:
        return len(optuna.load_study(study_name=name, storage=storage).trials)
    except KeyError:
        return 0


def _finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _requeue_interrupted(study: optuna.Study) -> None:
    """Gives trials that a stop left unfinished another turn with the same values, which finds their run folder."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _summary(study: optuna.Study, config: StudyConfig) -> dict[str, Any]:
    finished = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return {
        "study": config.model_dump(mode="json"),
        "best": {"val_accuracy": study.best_value, "parameters": study.best_params},
        "trials": [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "val_accuracy": max(trial.intermediate_values.values(), default=None),
                "epochs": len(trial.intermediate_values),
                "parameters": trial.params,
            }
            for trial in finished
        ],
    }


def _draw(study: optuna.Study, folder: Path) -> None:
    # optuna sets a style for the whole process, and matplotlib warns of an axis with one value.
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attempting to set identical low and high", UserWarning)
        history = drawing.plot_optimization_history(study, target_name=_RAISED)
        history.set_title("Trials")
        history.xaxis.set_major_locator(MaxNLocator(integer=True))
        plots.save_axes(history, folder / "history.png")
        slices = drawing.plot_slice(study, target_name=_RAISED)
        _make_readable(np.ravel(np.asarray(slices, dtype=object)))
        plots.save_axes(slices, folder / "slices.png")
        complete = study.get_trials(states=(TrialState.COMPLETE,))
        if len({trial.value for trial in complete}) >= _LEAST_TRIALS_FOR_IMPORTANCE:
            importances = drawing.plot_param_importances(study, target_name=_RAISED)
            importances.set_title("", loc="left")  # optuna's own
            importances.set_title("What the accuracy depended on")
            plots.save_axes(importances, folder / "importances.png")


def _make_readable(slices: npt.NDArray[np.object_]) -> None:
    figure = slices[0].figure
    figure.suptitle("")
    figure.set_size_inches(_SLICE_WIDTH_IN * len(slices), _SLICE_HEIGHT_IN)
    for axes in slices:
        if axes.get_xscale() == "log":
            axes.xaxis.set_minor_formatter(NullFormatter())  # the numbers of a narrow range lie on one another
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter("{x:g}")
