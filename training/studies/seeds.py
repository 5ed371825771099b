"""Measures runs of one recipe that differ in their seed alone: mean and spread of what each came to.

Nothing is chosen here, so PrivateTest may be read: the run that ships is chosen on PublicTest.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.architectures.heads import Head
from training.config import TrainConfig
from training.data.annotator_votes import VotesFile
from training.data.fer2013 import Fer2013, Split
from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS, record
from training.export.pipeline import Precision, export
from training.fit.run_folder import RunFolder, write_json

_LEAST_RUNS = 2
_FIGURES = {
    "PublicTest accuracy": lambda metrics: metrics[Split.PUBLIC_TEST].accuracy,
    "PrivateTest accuracy": lambda metrics: metrics[Split.PRIVATE_TEST].accuracy,
    "accuracy of both": lambda metrics: metrics[BOTH_TESTS].accuracy,
    "PrivateTest macro F1": lambda metrics: metrics[Split.PRIVATE_TEST].macro_f1,
    "PrivateTest ECE": lambda metrics: metrics[Split.PRIVATE_TEST].ece,
}


def measure_seeds(
    runs: Sequence[RunFolder], dataset: Fer2013, to: Path, votes: VotesFile | None = None, precision: Precision = "int8"
) -> dict[str, Any]:
    """Exports every run beside its weights, measures the files, and writes what they came to.

    Args:
        runs: Finished runs of one recipe.
        dataset: FER2013.
        to: JSON file to write.
        votes: For recipes with a crowd head.
        precision: Of the exported files.

    Returns:
        What the file holds. Shares are 0 to 1; `deviation` is the standard deviation of a sample (n - 1).

    Raises:
        TrainingError: There is one run only, a seed is there twice, or the recipes differ in more than the seed.
    """
    configs = [run.read_config() for run in runs]
    seeds = [config.seed for config in configs]
    if len(runs) < _LEAST_RUNS or len(set(seeds)) < len(seeds):
        raise TrainingError(f"a spread needs two or more runs of different seeds. Received: seeds {seeds}")
    for config in configs[1:]:
        if _without_seed(config) != _without_seed(configs[0]):
            raise TrainingError(f"{configs[0].name} and {config.name} differ in more than the seed")
    rows = []
    for run, config in zip(runs, configs, strict=True):
        path = run.path / f"{config.name}.onnx"
        export(run, dataset, path, votes, Head.ORIGINAL, precision)
        metrics = record(path, dataset, (Split.PUBLIC_TEST, Split.PRIVATE_TEST), disturbances=False).metrics
        rows.append({name: figure(metrics) for name, figure in _FIGURES.items()})
    summary = {
        "recipe": configs[0].name,
        "widths": list(configs[0].model.widths or ()),
        "epochs": configs[0].epochs,
        "precision": precision,
        "seeds": seeds,
        "figures": {name: _summary([row[name] for row in rows]) for name in _FIGURES},
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    write_json(to, summary)
    return summary


def table(summary: dict[str, Any]) -> str:
    """The same as Markdown."""
    lines = [
        f"| {summary['recipe']}, {summary['precision']} | mean | deviation |"
        + "".join(f" seed {seed} |" for seed in summary["seeds"]),
        "| --- |" + " ---: |" * (2 + len(summary["seeds"])),
    ]
    for name, figure in summary["figures"].items():
        values = (figure["mean"], figure["deviation"], *figure["values"])
        lines.append(f"| {name} | " + " | ".join(_shown(name, value) for value in values) + " |")
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    return f"{value:.2%}" if "accuracy" in name else f"{value:.3f}"


def _summary(values: list[float]) -> dict[str, Any]:
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values), "values": values}


def _without_seed(config: TrainConfig) -> dict[str, Any]:
    """The recipe without its seed, in the folders of the runs that it builds on too."""
    table = config.model_dump(mode="json") | {"seed": None}
    for section, key in ((table, "start"), (table.get("teachers") or {}, "runs")):
        if section.get(key):
            folders = section[key] if isinstance(section[key], list) else [section[key]]
            section[key] = [folder.removesuffix(f"-seed{config.seed}") for folder in folders]
    return table
