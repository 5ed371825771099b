"""Hyper-parameter search by Bayesian optimisation on PublicTest.

Every trial has a run folder named after its values, so an interrupted search resumes. PrivateTest is never read.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from training.config import TrainConfig, load_config
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013
from training.errors import TrainingError
from training.files import write_json
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.studies.study import ParameterConfig, StudyConfig, trial_recipe
from training.studies.tune_plots import plot_study


def tune(config: StudyConfig, dataset: Fer2013, folder: Path, votes: AnnotatorVotes | None = None) -> dict[str, Any]:
    """Run the search until all trials are finished. An interrupted search in the folder continues.

    Args:
        config: The study.
        dataset: The trials train on Training and maximise the accuracy on PublicTest.
        folder: Folder of the journal, the run folders, `study.json` and the plots.
        votes: Annotator votes, for a base recipe with an annotators' head.

    Returns:
        Content of `study.json`: the best values and all trials.

    Raises:
        TrainingError: An option is unknown, a value is out of its range, or no trial finished.
    """
    base = load_config(config.base)
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = _open_study(config, folder)
        _requeue_interrupted(study)
        while _finished(study) < config.trials:
            trial = study.ask()
            values = {name: _suggest(trial, name, parameter) for name, parameter in config.parameters.items()}
            recipe = trial_recipe(base, config, values)
            _run(study, trial, recipe, dataset, RunFolder(folder / recipe.name), votes)
        if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            raise TrainingError(f"no trial of {config.name} finished; the output above has the reasons")
        summary = _summary(study, config)
        write_json(folder / "study.json", summary)
        plot_study(study, folder)
    return summary


def _open_study(config: StudyConfig, folder: Path) -> optuna.Study:
    """Create the study, or open the study in the folder."""
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    try:
        trials = len(optuna.load_study(study_name=config.name, storage=storage).trials)
    except KeyError:
        trials = 0
    return optuna.create_study(
        study_name=config.name,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        # A resumed search needs another seed: the same seed would suggest the first values again.
        sampler=optuna.samplers.TPESampler(seed=config.seed + trials, n_startup_trials=config.warmup_trials),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=config.warmup_trials, n_warmup_steps=config.epochs // 3),
    )


def _requeue_interrupted(study: optuna.Study) -> None:
    """Queue the values of interrupted trials again, so that their run folders continue."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _suggest(trial: optuna.Trial, name: str, parameter: ParameterConfig) -> Any:
    if parameter.low is None or parameter.high is None:
        return trial.suggest_categorical(name, parameter.choices)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.scale == "log")


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    recipe: TrainConfig,
    dataset: Fer2013,
    run: RunFolder,
    votes: AnnotatorVotes | None,
) -> None:
    """Train one trial epoch by epoch. A trial that diverges or that the pruner rejects is stopped."""
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
