"""Trains and measures any set of configs, each in a process of its own, and puts each into the leaderboard when done.

Everything goes on where it was stopped: a row that is measured is left alone, a run that is not finished resumes.
A face's time is taken last, when nothing else runs: of all rows in one sitting, because machines have better hours and
worse. A row whose file is not at hand is timed by a network of the same shape with fresh weights.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from pydantic import ValidationError

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from app.server.cpus import available_cpus
from training import architectures, provenance
from training.architectures import ARCHITECTURES, Form
from training.config import ModelConfig, OptimizerConfig, TrainConfig
from training.data.annotator_votes import VotesFile
from training.data.fer2013 import Fer2013, Split, SplitData
from training.errors import TrainingError
from training.evaluation.cost import latency_ms, mflops
from training.evaluation.evaluate import BOTH_TESTS, record
from training.evaluation.test_time_augmentation import accuracy_of_views
from training.export.pipeline import export, to_onnx
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.studies.ensemble import EnsembleConfig, combine, export_ensemble, served_ensemble
from training.studies.leaderboard import Leaderboard, Row
from training.studies.subprocess_pool import call_apart

_TESTS = (Split.PUBLIC_TEST, Split.PRIVATE_TEST)

_SMOKE_IMAGES = 70  # more than the largest batch of the parity check
_SMOKE_JOBS = 2  # half of a smoke test is start-up, which uses one core
# Side of ImageNet networks in a smoke test: their least.
_SMOKE_INPUT_SIZE_PX = 32


def compare(
    configs: Sequence[TrainConfig],
    dataset: Fer2013,
    runs: Path,
    results: Path,
    votes: VotesFile | None = None,
    ensembles: Sequence[EnsembleConfig] = (),
    jobs: int = 1,
) -> None:
    """Brings every config to a row of the leaderboard.

    Args:
        configs: The recipes; their names are the rows' keys.
        dataset: FER2013.
        runs: Folder of the run folders, `<name>-seed<seed>`.
        results: Folder of the leaderboard.
        votes: For configs with a crowd head.
        ensembles: Of finished runs, measured after the configs.
        jobs: How many configs are trained side by side; the cores are shared among them.

    Raises:
        TrainingError: Some config could not be trained or exported; all the others are done before it is raised.
    """
    board = Leaderboard(results, BOTH_TESTS)
    folders = {config.name: runs / f"{config.name}-seed{config.seed}" for config in configs}
    folders |= {ensemble.name: runs / ensemble.name for ensemble in ensembles}
    missing, failed = [], {}
    for config in configs:
        present = board.get(config.name)
        if present is not None and present.config == config.model_dump(mode="json"):
            print(f"{config.name}: measured before, {present.accuracy[BOTH_TESTS]:.2%}")
        else:
            missing.append(config)
    threads = max(1, available_cpus() // jobs) if jobs > 1 else None
    for ready in _rounds(missing, folders):
        calls = [(config, dataset, RunFolder(folders[config.name]), votes, threads) for config in ready]
        for index, row in call_apart(train_and_measure, calls, jobs):
            name = ready[index].name
            if isinstance(row, TrainingError):
                failed[name] = str(row)
                print(f"{name} failed: {row}", flush=True)
            else:
                board.put(row)
                print(f"{name}: {row.accuracy[BOTH_TESTS]:.2%} of both tests", flush=True)
    for ensemble in ensembles:
        try:
            board.put(measure_ensemble(ensemble, dataset, folders[ensemble.name]))
        except TrainingError as error:
            failed[ensemble.name] = str(error)
    if any(row.latency_ms is None for row in board.rows()):
        try:
            _time_all(board, {key: folder / f"{key}.onnx" for key, folder in folders.items()})
        except TrainingError as error:
            failed["times"] = str(error)
    board.draw()
    if failed:
        raise TrainingError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))


def _time_all(board: Leaderboard, files: Mapping[str, Path]) -> None:
    keras.config.set_dtype_policy("float32")
    hardware = _hardware(provenance.describe_environment()["hardware"] | {"accelerator": None})
    times = {}
    for row in board.rows():
        with tempfile.TemporaryDirectory(prefix="fer-time-") as folder:
            file = files.get(row.key)
            if file is None or not file.exists():
                file = Path(folder) / "fresh.onnx"
                try:
                    onnx.save(to_onnx(_fresh_network(row.config), Path(folder)), file)
                except (ValidationError, TrainingError) as error:
                    raise TrainingError(f"{row.key} is of an earlier version and cannot be timed: {error}") from error
            times[row.key] = latency_ms(file)
    for row in board.rows():
        board.put(row.model_copy(update={"latency_ms": times[row.key], "latency_hardware": hardware}))


def _fresh_network(config: Mapping[str, Any]) -> keras.Model:
    """The SERVED form of a row's network, which costs what it does whatever its weights are."""
    if "member_configs" not in config:
        return architectures.build(ModelConfig.model_validate(config["model"]), Form.SERVED)
    members = [_fresh_network(member) for member in config["member_configs"]]
    own = {name: value for name, value in config.items() if name != "member_configs"}
    ensemble = EnsembleConfig.model_validate(own)
    return combine(members, ensemble.method, ensemble.shares())


def _rounds(configs: Sequence[TrainConfig], folders: Mapping[str, Path]) -> Iterator[list[TrainConfig]]:
    """The configs in rounds: each after those of the others whose runs it starts from or learns from."""
    waiting = list(configs)
    while waiting:
        to_come = {folders[config.name].resolve() for config in waiting}
        ready = [config for config in waiting if not to_come & {path.resolve() for path in config.borrowed_runs}]
        yield ready or waiting  # two that wait for each other are told so when they are trained
        waiting = [config for config in waiting if config not in ready] if ready else []


def train_and_measure(
    config: TrainConfig, dataset: Fer2013, run: RunFolder, votes: VotesFile | None = None, threads: int | None = None
) -> Row:
    """Trains a config to its end, exports it and measures the ONNX file on both test splits; its time stays open.

    Args:
        config: The recipe.
        dataset: FER2013.
        run: Where the run is kept.
        votes: For a config with a crowd head.
        threads: Cores that training may use, with the torch backend; None leaves it to PyTorch.
    """
    print(f"== {config.name} ==", flush=True)
    if threads is not None and keras.config.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
    train(config, dataset, run, votes)
    model_path = run.path / f"{config.name}.onnx"
    export(run, dataset, model_path, votes)
    recorded = json.loads(run.provenance.read_text(encoding="utf-8"))
    history = json.loads(run.history.read_text(encoding="utf-8"))
    published = config.published
    return measured_row(
        model_path,
        dataset,
        architecture=config.model.architecture,
        source=published.source if published else None,
        reported_accuracy=published.accuracy if published else None,
        note=published.note if published else "",
        parameters=recorded["parameters"],
        mflops=mflops(architectures.build(config.model, Form.SERVED)),
        seconds_per_epoch=float(np.median([entry["seconds"] for entry in history])),
        epochs=len(history),
    )


def measure_ensemble(config: EnsembleConfig, dataset: Fer2013, folder: Path) -> Row:
    """Exports an ensemble of finished runs into a folder as one ONNX file and measures that."""
    model_path = folder / f"{config.name}.onnx"
    export_ensemble(config, dataset, model_path)
    members = [RunFolder(path) for path in config.members]
    epochs = [json.loads(member.history.read_text(encoding="utf-8")) for member in members]
    seconds = [entry["seconds"] for history in epochs for entry in history]
    recorded = [json.loads(member.provenance.read_text(encoding="utf-8")) for member in members]
    return measured_row(
        model_path,
        dataset,
        architecture="ensemble",
        source=None,
        reported_accuracy=None,
        note=f"{config.method.capitalize()} ensemble of {', '.join(member.path.name for member in members)}",
        parameters=sum(entry["parameters"] for entry in recorded),
        mflops=mflops(served_ensemble(config)),
        seconds_per_epoch=float(np.median(seconds)),
        epochs=len(seconds),
    )


def measured_row(model_path: Path, dataset: Fer2013, **known: object) -> Row:
    """The row of an exported ONNX file.

    Args:
        model_path: Its stem is the row's key.
        dataset: FER2013.
        known: The fields of `Row` that the file does not tell.
    """
    manifest = record(model_path, dataset, _TESTS, disturbances=False)
    both = manifest.metrics[BOTH_TESTS]
    return Row(
        key=model_path.stem,
        hardware=_hardware(manifest.provenance.hardware),
        accuracy={split: metrics.accuracy for split, metrics in manifest.metrics.items()},
        accuracy_interval=both.accuracy_interval,
        accuracy_with_flips=accuracy_of_views(model_path, dataset, _TESTS, "flip"),
        macro_precision=both.macro_precision,
        macro_recall=both.macro_recall,
        macro_f1=both.macro_f1,
        per_class_f1={label: row.f1 for label, row in both.per_class.items()},
        confusion=both.confusion,
        config=manifest.provenance.config,
        commit=manifest.provenance.commit,
        **known,
    )


def smoke() -> None:
    """Takes every architecture through train, export with its parity check, and evaluation, on generated images.

    Raises:
        TrainingError: Some architecture did not come through.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fer-smoke-") as folder:
        configs = [_smoke_config(key) for key in ARCHITECTURES]
        compare(configs, generated_dataset(), Path(folder) / "runs", Path(folder) / "results", jobs=_SMOKE_JOBS)
    print(f"All {len(ARCHITECTURES)} architectures came through in {time.perf_counter() - started:.0f} s.")


def generated_dataset() -> Fer2013:
    """Noise whose brightness tells the label, as a dataset of 70 images a split."""
    generator = np.random.default_rng(0)

    def split() -> SplitData:
        labels = np.arange(_SMOKE_IMAGES, dtype=np.int64) % len(LABELS)
        noise = generator.integers(0, 60, size=(_SMOKE_IMAGES, CROP_SIZE_PX, CROP_SIZE_PX, 1))
        images = (25 * labels[:, np.newaxis, np.newaxis, np.newaxis] + noise).astype(np.uint8)
        return SplitData(images, labels, tuple(f"{index:03d}" for index in range(_SMOKE_IMAGES)))

    return Fer2013({split_name: split() for split_name in Split}, "generated")


def _smoke_config(key: str) -> TrainConfig:
    side = {"input_size_px": _SMOKE_INPUT_SIZE_PX} if key in {"resnet50", "mobilenet_v2"} else {}
    return TrainConfig(
        name=f"smoke_{key}",
        seed=0,
        epochs=1,
        batch_size=35,
        model=ModelConfig(architecture=key, **side),
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )


def _hardware(described: dict[str, str | None]) -> str:
    return str(described["accelerator"] or described["processor"])
