"""Train and measure configs, and add a row for each to the leaderboard.

An interrupted comparison resumes: measured rows are kept and unfinished runs continue. Each config is trained in a
separate process. The latency of all rows is measured at the end in one session, because the speed of a shared machine
changes from hour to hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from joblib import cpu_count

from training.config import TrainConfig, load_recorded_config
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013
from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS
from training.fit.run_folder import RunFolder
from training.studies.ensemble import EnsembleConfig
from training.studies.latency import measure_latencies
from training.studies.leaderboard import Leaderboard, Row
from training.studies.rows import measure_ensemble, published_fields, train_and_measure
from training.studies.subprocess_pool import call_in_subprocesses


def compare(
    configs: Sequence[TrainConfig],
    dataset: Fer2013,
    runs: Path,
    results: Path,
    votes: AnnotatorVotes | None = None,
    ensembles: Sequence[EnsembleConfig] = (),
    jobs: int = 1,
) -> None:
    """Add one row per config and ensemble to the leaderboard.

    Args:
        configs: Recipes; their names are the keys of the rows.
        dataset: FER2013.
        runs: Parent folder of the run folders `<name>-seed<seed>`.
        results: Folder of the leaderboard.
        votes: Annotator votes, for configs with an annotators' head.
        ensembles: Ensembles of finished runs, measured after the configs.
        jobs: Configs that are trained at the same time. They share the cores.

    Raises:
        TrainingError: A config could not be trained or exported. All other configs are processed first.
    """
    board = Leaderboard(results)
    folders = {config.name: runs / config.run_name for config in configs}
    folders |= {ensemble.name: runs / ensemble.name for ensemble in ensembles}
    failed = _train_all(_unmeasured(configs, board), board, folders, dataset, votes, jobs)
    for ensemble in ensembles:
        try:
            board.put(measure_ensemble(ensemble, dataset, folders[ensemble.name]))
        except TrainingError as error:
            failed[ensemble.name] = str(error)
    if any(row.latency_ms is None for row in board.rows()):
        try:
            measure_latencies(board, {key: folder / f"{key}.onnx" for key, folder in folders.items()})
        except TrainingError as error:
            failed["latencies"] = str(error)
    board.draw()
    if failed:
        raise TrainingError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))


def _unmeasured(configs: Sequence[TrainConfig], board: Leaderboard) -> list[TrainConfig]:
    """Return the configs without a row. The rows of the others get the present texts of `published`."""
    missing = []
    for config in configs:
        row = board.get(config.name)
        if row is not None and _has_recipe(row, config):
            print(f"{config.name}: already measured, {row.accuracy[BOTH_TESTS]:.2%}")
            board.put(row.model_copy(update=published_fields(config)))
        else:
            missing.append(config)
    return missing


def _has_recipe(row: Row, config: TrainConfig) -> bool:
    """Tell whether a row was measured with this recipe. `published` may differ: it describes the report only."""
    try:
        return load_recorded_config(row.config).is_same_recipe(config)
    except TrainingError:
        return False


def _train_all(
    configs: Sequence[TrainConfig],
    board: Leaderboard,
    folders: Mapping[str, Path],
    dataset: Fer2013,
    votes: AnnotatorVotes | None,
    jobs: int,
) -> dict[str, str]:
    """Train and measure configs in subprocesses. Return the error messages of failed configs by name."""
    failed = {}
    threads = max(1, cpu_count() // jobs) if jobs > 1 else None
    for ready in _rounds(configs, folders):
        calls = [(config, dataset, RunFolder(folders[config.name]), votes, threads) for config in ready]
        for index, row in call_in_subprocesses(train_and_measure, calls, jobs):
            name = ready[index].name
            if isinstance(row, TrainingError):
                failed[name] = str(row)
                print(f"{name} failed: {row}", flush=True)
            else:
                board.put(row)
                print(f"{name}: {row.accuracy[BOTH_TESTS]:.2%} on both test splits", flush=True)
    return failed


def _rounds(configs: Sequence[TrainConfig], folders: Mapping[str, Path]) -> Iterator[list[TrainConfig]]:
    """Yield the configs in rounds: every config in a later round than the configs of its parent runs."""
    waiting = list(configs)
    while waiting:
        unfinished = {folders[config.name].resolve() for config in waiting}
        ready = [config for config in waiting if not unfinished & {path.resolve() for path in config.parent_runs}]
        yield ready or waiting  # in a cycle no config is ready; training then reports the missing parent run
        waiting = [config for config in waiting if config not in ready] if ready else []
