"""Fine-tuning from a shipped model to files that the service loads, with a comparison on the same test images."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.contract.labels import LABELS
from app.contract.manifest import Manifest, Precision, load_manifest
from training.config import TrainConfig
from training.data.labelled import LabelledData, SplitName
from training.data.splits import Fer2013, Split
from training.errors import TrainingError
from training.evaluation.evaluate import write_manifest
from training.evaluation.labelled import Evaluation, evaluate_labelled
from training.evaluation.labelled_report import with_results
from training.export.export import export_network
from training.export.network import Network, load_network
from training.fine_tuning.comparison import BeforeAndAfter, compare
from training.fine_tuning.recipe import build_config
from training.fit.history_log import check_tensorboard, tensorboard_log
from training.fit.restore import restore
from training.fit.run_folder import RunFolder
from training.fit.train import train

_MEASURED = (SplitName.VALIDATION, SplitName.TEST)
_MIN_CALIBRATION = 100  # images of the validation split; with fewer, the temperature of the model is kept
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class Options:
    """Options of a fine-tuning run.

    Attributes:
        model: The model to start from: a `vgg` in full precision.
        to: ONNX file to write, in int8. `<name>_fp32.onnx` beside it is the same network in full precision.
        run: Folder of the run.
        recipe: TOML file; see `build_config`.
        seed: Replaces the seed of the recipe.
        epochs: Replaces the epochs of the recipe.
        frozen_layers: Beginnings of the names of layers that are not trained.
        tensorboard: Folder for TensorBoard; None: no such log.
    """

    model: Path
    to: Path
    run: Path
    recipe: Path
    seed: int | None = None
    epochs: int | None = None
    frozen_layers: Sequence[str] = ()
    tensorboard: Path | None = None

    @property
    def full_precision(self) -> Path:
        """The file in full precision."""
        return self.to.with_name(f"{self.to.stem}_fp32.onnx")


@dataclass(frozen=True)
class Result:
    """Result of a fine-tuning run.

    Attributes:
        test: The model and the int8 file on the test split.
        manifest: Manifest of the int8 file.
    """

    test: BeforeAndAfter
    manifest: Manifest


def check_options(options: Options) -> None:
    """Check the model and the name of the result before the images are read.

    Raises:
        ManifestError: The model does not match its manifest.
        TrainingError: The model is not in full precision, the result cannot have this name, or a package is missing.
    """
    check_tensorboard(options.tensorboard)
    manifest = load_manifest(options.model)
    if manifest.contract.precision != "float32":
        raise TrainingError(
            f"expected a model in full precision (float32), for example models/fer_vgg_fp32.onnx."
            f" Received: {options.model}, {manifest.contract.precision}"
        )
    if options.to.suffix != ".onnx" or not _NAME.fullmatch(options.to.stem):
        raise TrainingError(
            f"--to: expected a file such as models/mine.onnx, with a name of a-z, 0-9 and _. Received: {options.to}"
        )
    if options.model.resolve() in (options.to.resolve(), options.full_precision.resolve()):
        raise TrainingError(f"--to: expected another name than that of the model. Received: {options.to}")


def check_data(data: LabelledData) -> None:
    """Check that the data has what fine-tuning needs.

    Raises:
        TrainingError: A split has no image, or the data has a single class.
    """
    missing = [split for split in SplitName if split not in data.present_splits()]
    if missing:
        fer2013 = (
            " Of FER2013, only Training is used: its other splits are for the `train` command."
            if data.is_fer2013
            else ""
        )
        raise TrainingError(
            f"expected images in the splits {', '.join(SplitName)}. Received: no image of {', '.join(missing)}."
            f" Add them, or state no splits at all: then the images are split by their content.{fer2013}"
        )
    if len(data.classes) == 1:
        raise TrainingError(f"expected at least two classes. Received: only images of {data.classes[0]}")


def fine_tune(options: Options, data: LabelledData, name: str) -> Result:
    """Restore a model, train it on a labelled set, export it, and compare it with the model before.

    A repeated call continues an interrupted run: each step begins only if the step before it is complete.

    Args:
        options: Files and recipe.
        data: The labelled set, with all three splits. The validation split chooses the epoch; the test split is
            measured once, at the end.
        name: Name of the data for the manifest.

    Raises:
        ManifestError: The model does not match its manifest.
        TrainingError: The model, the data, the recipe or the run folder does not fit, or a check of the export failed.
    """
    dataset = data.as_dataset(name)
    base = _restored(options, dataset)
    config = build_config(
        options.recipe,
        base.read_config().model,
        base.path,
        len(data[SplitName.TRAIN]),
        name=options.to.stem,
        seed=options.seed,
        epochs=options.epochs,
        frozen_layers=options.frozen_layers,
    )
    run = RunFolder(options.run / "training")
    _check_same_data(run, dataset)
    _print_plan(config, data)
    with tensorboard_log(options.tensorboard) as log:
        train(config, dataset, run, log=log)
    _export(options, dataset, run)
    return _compare(options, data, name)


def _restored(options: Options, dataset: Fer2013) -> RunFolder:
    """Return the run folder of the model; write it if it is missing or incomplete."""
    base, sha256 = RunFolder(options.run / "base"), load_manifest(options.model).sha256
    if base.report.exists():
        restored_from = base.read_provenance()["restored_config"]["restored_from"]
        if restored_from != sha256:
            raise TrainingError(
                f"{options.run} contains a run that started from another model. Name another folder with --run, or"
                " delete this one."
            )
        return base
    if base.path.exists():
        shutil.rmtree(base.path)  # an interrupted restore
    print(f"Restore {options.model} as a network that can be trained", flush=True)
    restore(options.model, dataset, base)
    return base


def _check_same_data(run: RunFolder, dataset: Fer2013) -> None:
    recorded = run.read_provenance().get("dataset", {}).get("sha256", dataset.sha256)
    if recorded != dataset.sha256:
        raise TrainingError(
            f"{run.path.parent} contains a run on other data: expected sha256 {recorded}. Received: {dataset.sha256}."
            " Name another folder with --run, or delete this one."
        )


def _print_plan(config: TrainConfig, data: LabelledData) -> None:
    counts = ", ".join(f"{len(data[split])} {split}" for split in SplitName)
    frozen = f"; not trained: {', '.join(config.frozen_layers)}" if config.frozen_layers else ""
    print(f"Images: {counts}. {config.epochs} epochs, batches of {config.batch_size}{frozen}", flush=True)


def _export(options: Options, dataset: Fer2013, run: RunFolder) -> None:
    model = load_manifest(options.model)
    few = len(dataset[Split.PUBLIC_TEST].labels) < _MIN_CALIBRATION
    if few:
        print(
            f"The validation split has fewer than {_MIN_CALIBRATION} images: the temperature of the model is kept.",
            flush=True,
        )
    network = _with_origin(load_network(run), model, dataset)
    files: dict[Path, Precision] = {options.full_precision: "float32", options.to: "int8"}
    for path, precision in files.items():
        export_network(
            network,
            dataset,
            path,
            precision=precision,
            temperature=model.contract.temperature if few else None,
        )


def _with_origin(network: Network, model: Manifest, dataset: Fer2013) -> Network:
    """Return a network whose provenance also names the model before fine-tuning and its data."""
    origin = {
        "name": model.contract.name,
        "version": model.contract.version,
        "sha256": model.sha256,
        "dataset": model.provenance.dataset,
    }
    described = {
        **network.provenance.dataset,
        "train_images_by_label": dict(zip(LABELS, dataset[Split.TRAINING].counts(), strict=True)),
        "fine_tuned_from": origin,
    }
    return replace(network, provenance=network.provenance.model_copy(update={"dataset": described}))


def _compare(options: Options, data: LabelledData, name: str) -> Result:
    """Measure all files, and write the figures into the manifests of the new ones."""
    before = evaluate_labelled(options.model, data, _MEASURED)
    for path in (options.full_precision, options.to):
        after = evaluate_labelled(path, data, _MEASURED)
        manifest = _with_comparisons(with_results(after, name, data.sha256), before, after, name)
        write_manifest(path, manifest)
    return Result(compare(before.splits[-1], after.splits[-1]), manifest)


def _with_comparisons(manifest: Manifest, before: Evaluation, after: Evaluation, name: str) -> Manifest:
    sets = dict(manifest.labelled_sets)
    for first, second in zip(before.splits, after.splits, strict=True):
        key = f"{name} {second.name}"
        sets[key] = sets[key].model_copy(update={"before": compare(first, second).as_metrics(before)})
    return manifest.model_copy(update={"labelled_sets": sets})
