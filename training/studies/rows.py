"""Rows of the leaderboard: training and measurement of one config or ensemble."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from training import architectures
from training.architectures import Form
from training.config import TrainConfig
from training.data.annotator_votes import AnnotatorVotes
from training.data.splits import Fer2013, Split
from training.evaluation.cost import mflops
from training.evaluation.evaluate import BOTH_TESTS, record
from training.evaluation.test_time_augmentation import accuracy_with_augmentation
from training.export.export import export, export_network
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.studies.ensemble import EnsembleConfig, load_members
from training.studies.leaderboard import Row

_TESTS = (Split.PUBLIC_TEST, Split.PRIVATE_TEST)


def train_and_measure(
    config: TrainConfig,
    dataset: Fer2013,
    run: RunFolder,
    votes: AnnotatorVotes | None = None,
    threads: int | None = None,
) -> Row:
    """Train a config to its end, export it and measure the ONNX file on both test splits, without latency.

    Args:
        config: The recipe.
        dataset: FER2013.
        run: Run folder; an unfinished run in it continues.
        votes: Annotator votes, for a config with an annotators' head.
        threads: Threads of PyTorch; None for PyTorch's default.
    """
    print(f"== {config.name} ==", flush=True)
    if threads is not None and keras.config.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
    train(config, dataset, run, votes)
    model_path = run.path / f"{config.name}.onnx"
    export(run, dataset, model_path, votes)
    history = _read_json(run.history)
    return _measured_row(
        model_path,
        dataset,
        **published_fields(config),
        architecture=config.model.architecture,
        parameters=_read_json(run.provenance)["parameters"],
        mflops=mflops(architectures.build(config.model, Form.SERVED)),
        seconds_per_epoch=float(np.median([entry["seconds"] for entry in history])),
        epochs=len(history),
    )


def published_fields(config: TrainConfig) -> dict[str, Any]:
    """Return the fields of a row that describe the published system."""
    published = config.published
    return {
        "source": published.source if published else None,
        "reported_accuracy": published.accuracy if published else None,
        "note": published.note if published else "",
    }


def measure_ensemble(config: EnsembleConfig, dataset: Fer2013, folder: Path) -> Row:
    """Export an ensemble of finished runs into a folder as one ONNX file, and measure the file."""
    model_path = folder / f"{config.name}.onnx"
    network = load_members(config)
    export_network(network, dataset, model_path)
    members = [RunFolder(path) for path in config.members]
    seconds = [entry["seconds"] for member in members for entry in _read_json(member.history)]
    return _measured_row(
        model_path,
        dataset,
        architecture="ensemble",
        source=None,
        reported_accuracy=None,
        note=f"{config.method.capitalize()} ensemble of {', '.join(member.path.name for member in members)}",
        parameters=sum(_read_json(member.provenance)["parameters"] for member in members),
        mflops=mflops(network.served),
        seconds_per_epoch=float(np.median(seconds)),
        epochs=len(seconds),
    )


def hardware_name(described: Mapping[str, str | None]) -> str:
    """Return the accelerator of a provenance's hardware, or else the processor."""
    return str(described["accelerator"] or described["processor"])


def _measured_row(model_path: Path, dataset: Fer2013, **fields: Any) -> Row:
    """Measure an ONNX file and return its row; `fields` are the fields of `Row` that the file does not contain."""
    manifest = record(model_path, dataset, _TESTS, corruptions=False)
    both = manifest.metrics[BOTH_TESTS]
    return Row(
        key=model_path.stem,
        hardware=hardware_name(manifest.provenance.hardware),
        accuracy={split: metrics.accuracy for split, metrics in manifest.metrics.items()},
        accuracy_interval=both.accuracy_interval,
        accuracy_with_flips=accuracy_with_augmentation(model_path, dataset, _TESTS, "flip"),
        macro_precision=both.macro_precision,
        macro_recall=both.macro_recall,
        macro_f1=both.macro_f1,
        per_class_f1={label: row.f1 for label, row in both.per_class.items()},
        confusion=both.confusion,
        config=manifest.provenance.config,
        commit=manifest.provenance.commit,
        **fields,
    )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
