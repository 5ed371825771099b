"""Mean and standard deviation of the metrics of runs that differ only in their seed.

Nothing is chosen here, so PrivateTest may be measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.contract.manifest import Precision, SplitMetrics
from training.architectures.heads import Head
from training.config import TrainConfig
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013, Split
from training.errors import TrainingError
from training.evaluation.evaluate import BOTH_TESTS, record
from training.export.export import export
from training.files import write_json
from training.fit.run_folder import RunFolder

_MIN_RUNS = 2
_FIGURES: Mapping[str, Callable[[Mapping[str, SplitMetrics]], float]] = {
    "PublicTest accuracy": lambda metrics: metrics[Split.PUBLIC_TEST].accuracy,
    "PrivateTest accuracy": lambda metrics: metrics[Split.PRIVATE_TEST].accuracy,
    "accuracy of both": lambda metrics: metrics[BOTH_TESTS].accuracy,
    "PrivateTest macro F1": lambda metrics: metrics[Split.PRIVATE_TEST].macro_f1,
    "PrivateTest ECE": lambda metrics: metrics[Split.PRIVATE_TEST].ece,
}


def measure_seeds(
    runs: Sequence[RunFolder],
    dataset: Fer2013,
    to: Path,
    votes: AnnotatorVotes | None = None,
    precision: Precision = "int8",
) -> dict[str, Any]:
    """Export every run into its folder, measure the files and write the summary.

    Args:
        runs: Finished runs of one recipe.
        dataset: FER2013.
        to: JSON file to write.
        votes: Annotator votes, for recipes with an annotators' head.
        precision: Precision of the exported files.

    Returns:
        Content of the JSON file. Shares are 0 to 1; `deviation` is the sample standard deviation (n - 1).

    Raises:
        TrainingError: There are fewer than two runs, a seed occurs twice, or the recipes differ in more than the seed.
    """
    configs = [run.read_config() for run in runs]
    _check_runs(configs)
    rows = []
    for run, config in zip(runs, configs, strict=True):
        path = run.path / f"{config.name}.onnx"
        export(run, dataset, path, votes, Head.ORIGINAL, precision)
        metrics = record(path, dataset, (Split.PUBLIC_TEST, Split.PRIVATE_TEST), corruptions=False).metrics
        rows.append({name: figure(metrics) for name, figure in _FIGURES.items()})
    summary = {
        "recipe": configs[0].name,
        "widths": list(configs[0].model.widths or ()),
        "epochs": configs[0].epochs,
        "precision": precision,
        "seeds": [config.seed for config in configs],
        "figures": {name: _statistics([row[name] for row in rows]) for name in _FIGURES},
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    write_json(to, summary)
    return summary


def _check_runs(configs: Sequence[TrainConfig]) -> None:
    seeds = [config.seed for config in configs]
    if len(configs) < _MIN_RUNS or len(set(seeds)) < len(seeds):
        raise TrainingError(f"expected two or more runs with different seeds. Received: seeds {seeds}")
    for config in configs[1:]:
        if _without_seed(config) != _without_seed(configs[0]):
            raise TrainingError(f"{configs[0].name} and {config.name} differ in more than the seed")


def _statistics(values: list[float]) -> dict[str, Any]:
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values), "values": values}


def _without_seed(config: TrainConfig) -> dict[str, Any]:
    """Return the recipe without its seed, also in the folder names of its parent runs."""
    table = config.model_dump(mode="json") | {"seed": None}
    for section, key in ((table, "warm_start"), (table.get("distillation") or {}, "runs")):
        if section.get(key):
            folders = section[key] if isinstance(section[key], list) else [section[key]]
            section[key] = [folder.removesuffix(f"-seed{config.seed}") for folder in folders]
    return table
