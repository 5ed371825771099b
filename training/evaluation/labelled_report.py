"""The result of an evaluation as text, JSON, plots and metrics of the manifest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.contract.labels import LABELS
from app.contract.manifest import GroupMetrics, LabelledSetMetrics, Manifest
from app.contract.scores import probabilities
from training.evaluation import plots
from training.evaluation.labelled import EvaluatedSplit, Evaluation
from training.evaluation.prediction_sets import measure_sets
from training.evaluation.text_report import classification_table, group_table, prediction_set_table


def as_text(result: Evaluation) -> str:
    """Return the tables of every split."""
    contract = result.manifest.contract
    blocks = []
    for split in result.splits:
        present = sum(row.support > 0 for row in split.metrics.per_class.values())
        fewer = "" if present == len(LABELS) else f", {present} of {len(LABELS)} classes"
        blocks.append(
            f"{contract.name} {contract.version} on {split.name}{fewer}\n{classification_table(split.metrics)}"
        )
        blocks += [group_table(comparison) for comparison in split.comparisons]
        if prediction_sets := result.manifest.prediction_sets:
            scores = probabilities(split.logits, contract.temperature)
            measured = {asked: measure_sets(scores, split.labels, sets) for asked, sets in prediction_sets.items()}
            blocks.append(prediction_set_table(measured))
    return "\n\n".join(blocks)


def as_json(result: Evaluation) -> dict[str, Any]:
    """Return all figures."""
    contract = result.manifest.contract
    return {
        "model": {"name": contract.name, "version": contract.version, "sha256": result.manifest.sha256},
        "splits": {
            split.name: {
                "metrics": split.metrics.model_dump(mode="json"),
                "groups": {
                    comparison.column: asdict(comparison)
                    | {"differs": comparison.differs, "differs_within_labels": comparison.differs_within_labels}
                    for comparison in split.comparisons
                },
            }
            for split in result.splits
        },
    }


def plot(result: Evaluation, folder: Path) -> None:
    """Draw the confusion matrix, the reliability diagram and the groups of every split into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    contract = result.manifest.contract
    for split in result.splits:
        title = f"{contract.name} {contract.version}, {split.name}"
        plots.plot_confusion(split.metrics.confusion, title, folder / f"confusion-{split.name}.png")
        plots.plot_reliability(split.metrics, title, folder / f"reliability-{split.name}.png")
        if split.comparisons:
            plots.plot_groups(split.comparisons, split.metrics.accuracy, title, folder / f"groups-{split.name}.png")


def with_results(result: Evaluation, name: str, dataset_sha256: str) -> Manifest:
    """Return the manifest with the results under `<name> <split>`. Results of other sets and splits are kept."""
    sets = {f"{name} {split.name}": _metrics_of(split, dataset_sha256) for split in result.splits}
    return result.manifest.model_copy(update={"labelled_sets": {**result.manifest.labelled_sets, **sets}})


def _metrics_of(split: EvaluatedSplit, dataset_sha256: str) -> LabelledSetMetrics:
    groups = {
        comparison.column: {
            group.name: GroupMetrics(images=group.images, accuracy=group.accuracy, accuracy_interval=group.interval)
            for group in comparison.groups
        }
        for comparison in split.comparisons
    }
    return LabelledSetMetrics(dataset_sha256=dataset_sha256, metrics=split.metrics, groups=groups)
