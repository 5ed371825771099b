"""A plan: stages of runs within a number of minutes, such as several teachers and then their students on one GPU.

The runs of a stage train at the same time, each in its own process. Two pilot epochs of each run measure its speed, and
the number of epochs is set so that the stage ends in time. Archives of the runs are written during training, so that an
interrupted plan leaves usable weights.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat

from training.config import TrainConfig, load_config, load_section
from training.config.sections import Section
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013, Split
from training.errors import TrainingError
from training.files import write_json
from training.fit.archive import pack
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.studies.subprocess_pool import call_in_subprocesses

_PILOT_EPOCHS = 2  # the first includes one-off preparations; the second is timed
_ARCHIVES = 4  # written during a run
_RESERVE = 0.1  # share of a stage's time for starting processes, archives and slower epochs


class StageConfig(Section):
    """Runs that train at the same time."""

    configs: tuple[Path, ...] = Field(min_length=1, description="TOML files, relative to the file of the plan")
    seeds: tuple[int, ...] = Field(default=(), description="train every config with every seed; empty: its own seed")
    share: PositiveFloat = Field(description="share of the time, relative to the other stages")


class PlanConfig(Section):
    """Stages in their order. A later stage may read the runs of an earlier one."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    minutes: PositiveFloat
    stages: tuple[StageConfig, ...] = Field(min_length=1)

    def recipes(self, folder: Path) -> list[list[TrainConfig]]:
        """Return the configs of every stage. `folder` contains the file of the plan."""
        return [
            [load_config(folder / path, seed) for path in stage.configs for seed in stage.seeds or (None,)]
            for stage in self.stages
        ]


def load_plan(path: Path) -> PlanConfig:
    """Read a plan from a TOML file.

    Raises:
        TrainingError: The file is missing, is not TOML or breaks the schema.
    """
    return load_section(PlanConfig, path, "plan")


def run_plan(
    path: Path,
    dataset: Fer2013,
    votes: AnnotatorVotes | None,
    runs: Path,
    to: Path,
    *,
    minutes: float | None = None,
    workers: int = 0,
) -> list[dict[str, Any]]:
    """Train all stages of a plan.

    Args:
        path: TOML file of the plan.
        dataset: FER2013.
        votes: Annotator votes, for configs with an annotators' head.
        runs: Parent of the run folders `<name>-seed<seed>`.
        to: Output folder: an archive for each run, and `plan.json`.
        minutes: Replaces the time of the plan.
        workers: Processes of each run that draw batches.

    Returns:
        The rows of `plan.json`: run, epochs, expected seconds per epoch, accuracy on PublicTest.

    Raises:
        TrainingError: A run failed. The other runs of its stage end first.
    """
    plan, started = load_plan(path), time.monotonic()
    seconds = 60 * (minutes or plan.minutes)
    rows: list[dict[str, Any]] = []
    total, share = sum(stage.share for stage in plan.stages), 0.0
    for stage, configs in zip(plan.stages, plan.recipes(path.parent), strict=True):
        share += stage.share / total  # a stage that ends early leaves its time to the later stages
        rows += _run_stage(configs, dataset, votes, runs, to, workers, started + share * seconds)
        write_json(to / "plan.json", {"plan": plan.name, "seconds": time.monotonic() - started, "runs": rows})
    return rows


def _run_stage(
    configs: Sequence[TrainConfig],
    dataset: Fer2013,
    votes: AnnotatorVotes | None,
    runs: Path,
    to: Path,
    workers: int,
    deadline: float,
) -> list[dict[str, Any]]:
    """Train the runs of a stage until about `deadline`, a time of `time.monotonic`; return their rows."""
    speeds = _results(_pilot, [(config, dataset, votes, workers) for config in configs])
    left = (1 - _RESERVE) * (deadline - time.monotonic())
    fitted = [
        config.with_epochs(min(config.epochs, max(1, math.floor(left / speed))))
        for config, speed in zip(configs, speeds, strict=True)
    ]
    names = [config.run_name for config in fitted]
    calls = [
        (config, dataset, votes, RunFolder(runs / name), to / f"{name}.npz", workers)
        for name, config in zip(names, fitted, strict=True)
    ]
    rows = []
    accuracies = _results(_train_and_pack, calls)
    for name, config, speed, accuracy in zip(names, fitted, speeds, accuracies, strict=True):
        print(f"{name}: {config.epochs} epochs, PublicTest {accuracy:.2%}", flush=True)
        row = {"run": name, "epochs": config.epochs, "expected_seconds_per_epoch": speed, "PublicTest": accuracy}
        rows.append(row)
    return rows


def _results(function: Callable[..., float], calls: Sequence[tuple[Any, ...]]) -> list[float]:
    """Make all calls at the same time in subprocesses; return their results in order."""
    results: dict[int, float] = {}
    failed = []
    for index, result in call_in_subprocesses(function, calls, len(calls)):
        if isinstance(result, TrainingError):
            failed.append(str(result))
        else:
            results[index] = result
    if failed:
        raise TrainingError("; ".join(failed))
    return [results[index] for index in range(len(calls))]


def _pilot(config: TrainConfig, dataset: Fer2013, votes: AnnotatorVotes | None, workers: int) -> float:
    """Return the seconds of an epoch at the full size; epochs of smaller images take less."""
    update = {"progressive_sizes": (), "sharpness_aware": None}
    pilot = config.with_epochs(_PILOT_EPOCHS).model_copy(update=update)
    with tempfile.TemporaryDirectory(prefix="fer-pilot-") as folder:
        state = train(pilot, dataset, RunFolder(Path(folder)), votes, workers=workers)
    # A sharpness-aware epoch has two gradient passes and takes at most twice as long.
    twice = config.sharpness_aware.last_epochs / config.epochs if config.sharpness_aware is not None else 0.0
    return state.history[-1]["seconds"] * (1 + twice)


def _train_and_pack(
    config: TrainConfig,
    dataset: Fer2013,
    votes: AnnotatorVotes | None,
    run: RunFolder,
    archive: Path,
    workers: int,
) -> float:
    """Train a run in several sessions, with an archive after each. Return its accuracy on PublicTest."""
    session = math.ceil(config.epochs / _ARCHIVES)
    while not run.report.exists():
        train(config, dataset, run, votes, stop_after_epochs=session, workers=workers)
        pack(run, archive)
    report = json.loads(run.report.read_text(encoding="utf-8"))
    return float(report[Split.PUBLIC_TEST]["accuracy"])
