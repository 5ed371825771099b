"""Model card: a Markdown file whose figures come from the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.contract.labels import LABELS
from app.contract.manifest import Manifest, Provenance, SplitMetrics, load_manifest
from training.data.fer2013 import EXPECTED_COUNTS
from training.data.splits import Split
from training.errors import TrainingError
from training.evaluation import plots
from training.export import card_text
from training.export.card_tables import (
    accuracy_table,
    calibration_rows,
    class_table,
    confusion_table,
    prediction_set_rows,
    robustness_rows,
    seeds_table,
)
from training.files import write_text

_DEFAULT_MODEL = "fer_vgg"  # its card is models/README.md, the default of the card command
_PYTHON = ".venv-dev/bin/python -m training"


@dataclass(frozen=True)
class ModelFile:
    """One ONNX file of a network. The files of a network differ in precision."""

    manifest: Manifest
    size_bytes: int


def files_of_network(model_path: Path) -> list[ModelFile]:
    """Return all files of a network: those in the same folder with the same provenance, sorted by name."""
    provenance = load_manifest(model_path).provenance
    files = []
    for path in sorted(model_path.parent.glob("*.onnx")):
        manifest = load_manifest(path)
        if manifest.provenance == provenance:
            files.append(ModelFile(manifest, path.stat().st_size))
    return files


def write_card(model_path: Path, to: Path, seeds_path: Path | None = None) -> None:
    """Write the card and, beside it, the reliability diagram that the card shows.

    Args:
        model_path: ONNX file. The card compares it with the other files of its network.
        to: Markdown file to write.
        seeds_path: Result of `python -m training seeds`; a missing file is ignored.

    Raises:
        TrainingError: PrivateTest was not measured yet, or the file of the seeds is not JSON.
        ManifestError: A file does not match its manifest.
    """
    manifest = load_manifest(model_path)
    seeds = None
    if seeds_path is not None and seeds_path.exists():
        try:
            seeds = json.loads(seeds_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{seeds_path} is not an output file of `seeds`: {error}") from error
    write_text(to, model_card(manifest, files_of_network(model_path), seeds))
    private = _metrics(manifest)[Split.PRIVATE_TEST]
    title = f"{manifest.contract.name} {manifest.contract.version}, PrivateTest"
    plots.plot_reliability(private, title, to.with_name(f"{manifest.contract.name}.reliability.png"))


def model_card(manifest: Manifest, files: Sequence[ModelFile] = (), seeds: Mapping[str, Any] | None = None) -> str:
    """Return the card as Markdown.

    Args:
        manifest: Manifest with metrics of PrivateTest.
        files: All files of the network. The card compares files with measured latency, if there are at least two.
        seeds: Result of `training.studies.seeds.measure_seeds`. The card shows it if it belongs to the recipe of this
            network, or to that recipe at half the width.

    Raises:
        TrainingError: PrivateTest was not measured yet.
    """
    if Split.PRIVATE_TEST not in manifest.metrics:
        raise TrainingError(
            "the manifest has no metrics of PrivateTest: run `python -m training evaluate --write` first"
        )
    metrics = _metrics(manifest)
    private, label_set = metrics[Split.PRIVATE_TEST], card_text.LABEL_SETS[manifest.provenance.learned_labels]
    return card_text.TEMPLATE.format(
        **_model_fields(manifest),
        runs_section=_runs_section(manifest.provenance.config),
        accuracy_table=accuracy_table(manifest.metrics),
        annotator_section=_annotator_section(manifest),
        label_set=label_set,
        class_table=class_table(private),
        confusion_table=confusion_table(private),
        calibration_rows=calibration_rows(metrics),
        sets_section=_sets_section(manifest, label_set),
        seeds_section=_seeds_section(seeds, manifest.provenance),
        robustness_section=_robustness_section(manifest, private, label_set),
        files_section=_files_section(files, label_set),
        plain=card_text.plain_onnxruntime(manifest.contract),
        intended_use=card_text.INTENDED_USE,
        disgust_images=EXPECTED_COUNTS[Split.TRAINING][LABELS.index("disgust")],
        commands=_commands(manifest, files),
    )


def _model_fields(manifest: Manifest) -> dict[str, Any]:
    """Return the placeholders of the section "Model"."""
    contract, provenance, config = manifest.contract, manifest.provenance, manifest.provenance.config
    labels_text = card_text.LABELS_TEXT[provenance.learned_labels]
    if config.get("annotator_votes"):
        labels_text += card_text.OTHER_HEAD_TEXT[provenance.learned_labels]
    return {
        "name": contract.name,
        "version": contract.version,
        "widths": "-".join(map(str, config["model"]["widths"])),
        "convolutions": config["model"]["convolutions_per_stage"],
        "labels": f"{', '.join(contract.labels[:-1])} or {contract.labels[-1]}",
        "temperature": contract.temperature,
        "precision": contract.precision,
        "sha256": manifest.sha256,
        "preprocess_id": contract.preprocess_id,
        "seed": provenance.seed,
        "epochs": config["epochs"],
        "wall_min": provenance.wall_s / 60,
        "hardware": provenance.hardware["accelerator"] or provenance.hardware["processor"],
        "all_runs": " for all training runs below" if len(_chain(config)) > 1 else "",
        "commit": provenance.commit,
        "training_images": provenance.dataset["counts"]["Training"],
        "dataset_sha256": provenance.dataset["sha256"][:16],
        "labels_text": labels_text,
    }


def _metrics(manifest: Manifest) -> Mapping[str, SplitMetrics]:
    """Return the metrics by split against the label set that the network was trained on."""
    learned = manifest.provenance.learned_labels
    return manifest.annotator_metrics if learned == "annotators" else manifest.metrics


def _chain(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the configs of all runs in order: the first run of the chain first, `config` last."""
    parent = config.get("warm_start_config")
    return [*(_chain(parent) if parent else []), config]


def _runs_section(config: Mapping[str, Any]) -> str:
    chain = _chain(config)
    if len(chain) == 1 and not config.get("distillation"):
        return ""
    rows = []
    for run, parent in zip(chain, [None, *chain], strict=False):
        initial, targets = "random", "labels"
        if parent is not None:
            restored = ", restored from its exported file" if "restored_from" in parent else ""
            kind = "averaged" if parent.get("averaged_epochs") else "best"
            initial = f"{kind} weights of `{parent['name']}`{restored}"
        if distillation := run.get("distillation"):
            names = ", ".join(f"`{Path(parent_run).name}`" for parent_run in distillation["runs"])
            targets = f"{distillation['share']:.0%} predictions of {names} (distillation), the rest labels"
        rows.append(f"| `{run['name']}` | {run['epochs']} | {run['seed']} | {initial} | {targets} |")
    return card_text.RUNS_SECTION.format(rows="\n".join(rows))


def _annotator_section(manifest: Manifest) -> str:
    if not manifest.annotator_metrics:
        return ""
    return card_text.ANNOTATOR_SECTION.format(table=accuracy_table(manifest.annotator_metrics))


def _sets_section(manifest: Manifest, label_set: str) -> str:
    if not manifest.prediction_sets:
        return ""
    return card_text.SETS_SECTION.format(
        label_set=label_set,
        labels=" | ".join(LABELS),
        rule=" | ".join(["---:"] * len(LABELS)),
        rows=prediction_set_rows(manifest.prediction_sets),
    )


def _robustness_section(manifest: Manifest, private: SplitMetrics, label_set: str) -> str:
    if not manifest.robustness:
        return ""
    rows = robustness_rows(manifest.robustness, private.accuracy)
    return card_text.ROBUSTNESS_SECTION.format(label_set=label_set, rows=rows)


def _seeds_section(seeds: Mapping[str, Any] | None, provenance: Provenance) -> str:
    recipe = provenance.config["name"]
    if seeds is None or provenance.learned_labels != "original" or seeds["recipe"] not in (recipe, f"{recipe}_half"):
        return ""
    return card_text.SEEDS_SECTION.format(
        recipe=seeds["recipe"],
        widths="-".join(map(str, seeds["widths"])),
        epochs=seeds["epochs"],
        table=seeds_table(seeds),
    )


def _files_section(files: Sequence[ModelFile], label_set: str) -> str:
    timed = [(file, file.manifest.latency) for file in files if file.manifest.latency is not None]
    if len(timed) <= 1:
        return ""
    _, first = timed[0]
    batch = max(first.ms_by_batch)
    rows = []
    for file, latency in timed:
        contract, metrics = file.manifest.contract, _metrics(file.manifest)
        accuracies = " | ".join(
            f"{metrics[split].accuracy:.2%}" if split in metrics else ""
            for split in (Split.PUBLIC_TEST, Split.PRIVATE_TEST)
        )
        rows.append(
            f"| `{contract.name}.onnx` | {contract.precision} | {file.size_bytes / 1e6:.1f} MB | {accuracies}"
            f" | {latency.ms_by_batch[1]:.2f} ms | {latency.ms_by_batch[batch]:.2f} ms |"
        )
    return card_text.FILES_SECTION.format(
        batch=batch, rows="\n".join(rows), label_set=label_set, processor=first.processor
    )


def _commands(manifest: Manifest, files: Sequence[ModelFile]) -> str:
    config, data = manifest.provenance.config, "--data fer2013.zip"
    contracts = [file.manifest.contract for file in files] or [manifest.contract]
    head = " --head annotators" if manifest.provenance.learned_labels == "annotators" else ""
    lines = [
        f"{_PYTHON} train --config training/configs/{run['name']}.toml --seed {run['seed']} {data}"
        for run in _chain(config)
    ]
    lines += [
        f"{_PYTHON} export runs/{config['name']}-seed{manifest.provenance.seed} {data}"
        f" --to models/{contract.name}.onnx --precision {contract.precision}{head}"
        for contract in contracts
    ]
    lines += [
        f"{_PYTHON} evaluate models/{contract.name}.onnx --split PublicTest --split PrivateTest --time --write {data}"
        for contract in contracts
    ]
    name = manifest.contract.name
    to = "" if name == _DEFAULT_MODEL else f" --to models/{name}.md"
    return "\n".join([*lines, f"{_PYTHON} card models/{name}.onnx{to}"])
