"""Command that measures a served model: evaluate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from app.contract.manifest import Manifest, SplitMetrics, load_manifest
from training.cli.labelled_options import add_labelled_data, joined_name, load_labelled_data
from training.cli.options import DEFAULT_DATA, Commands, add_votes, optional_votes
from training.data.labelled import ALL, LabelledData, SplitName, parse_split
from training.data.labelled.dataset import OFFICIAL_SPLITS
from training.data.labelled.fer2013_source import complete_fer2013
from training.data.splits import Fer2013, Split
from training.errors import TrainingError

_EPILOG = (
    "Nothing is written into the manifest without --write. On FER2013, name the splits. Measure PrivateTest for a final"
    " model only."
)


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    evaluate = commands.add_parser("evaluate", help="measure a model on any labelled set", epilog=_EPILOG)
    evaluate.add_argument("model", type=Path, help="ONNX file")
    evaluate.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="SPLIT",
        help="train, validation, test or all, or the names of FER2013; repeat (default: test, or all if the data states"
        " no splits)",
    )
    evaluate.add_argument(
        "--groups", action="append", default=[], metavar="COLUMN", help="compare groups by a column of the CSV; repeat"
    )
    evaluate.add_argument(
        "--device",
        choices=["cpu", "cuda", "auto"],
        default="cpu",
        help="device that runs the model (default: %(default)s)",
    )
    evaluate.add_argument(
        "--augmentation",
        choices=["flip", "ten_crop"],
        help="FER2013: also print the accuracy with test-time augmentation",
    )
    evaluate.add_argument(
        "--time", action="store_true", help="also measure the time per face on one core; needs an idle machine"
    )
    evaluate.add_argument("--plots", type=Path, metavar="FOLDER", help="write confusion, reliability and group plots")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures of own data as JSON")
    evaluate.add_argument("--write", action="store_true", help="write the figures into the manifest of the model")
    add_labelled_data(evaluate, required=False)
    add_votes(evaluate)
    evaluate.set_defaults(run_command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    load_manifest(arguments.model)  # reports a bad model before the images are read
    arguments.data = arguments.data or [str(DEFAULT_DATA)]
    names = list(dict.fromkeys(parse_split(name) for name in arguments.split))
    own = len(arguments.data) > 1 or arguments.drop or arguments.groups or ALL in names
    dataset = None if own else complete_fer2013(Path(arguments.data[0]))
    if dataset is not None:
        _evaluate_fer2013(arguments, dataset, [OFFICIAL_SPLITS[SplitName(name)] for name in names])
    else:
        _evaluate_labelled(arguments, load_labelled_data(arguments), names)


def _evaluate_labelled(arguments: argparse.Namespace, data: LabelledData, names: list[str]) -> None:
    from training.evaluation.evaluate import measure_latency, write_manifest
    from training.evaluation.labelled import default_split, evaluate_labelled
    from training.evaluation.labelled_report import as_json, as_text, plot, with_results
    from training.files import write_json

    only_fer2013 = [name for name in ("votes", "augmentation") if getattr(arguments, name) is not None]
    if only_fer2013:
        raise TrainingError(f"--{only_fer2013[0]} is for FER2013 alone. Received: {', '.join(arguments.data)}")
    if not names:
        if data.is_fer2013:
            raise TrainingError(_name_the_split())
        name, reason = default_split(arguments.model, data)
        print(reason, file=sys.stderr)
        names = [name]
    result = evaluate_labelled(arguments.model, data, names, arguments.groups, arguments.device)
    print(as_text(result))
    if arguments.plots is not None:
        plot(result, arguments.plots)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.json, as_json(result))
    manifest = with_results(result, joined_name(arguments.data), data.sha256)
    if arguments.time:
        manifest = manifest.model_copy(update={"latency": measure_latency(arguments.model)})
        _print_latency(manifest)
    if arguments.write:
        write_manifest(arguments.model, manifest)


def _evaluate_fer2013(arguments: argparse.Namespace, dataset: Fer2013, splits: list[Split]) -> None:
    from training.evaluation.evaluate import BOTH_TESTS, measure_file, write_manifest
    from training.evaluation.test_time_augmentation import accuracy_with_augmentation

    if not splits:
        raise TrainingError(_name_the_split())
    if arguments.json is not None:
        raise TrainingError("--json is for own data: --write writes the figures of FER2013 into the manifest.")
    votes = optional_votes(arguments.votes, Path(arguments.data[0]))
    manifest = measure_file(arguments.model, dataset, splits, votes, arguments.device, timed=arguments.time)
    both = [BOTH_TESTS] if {Split.PUBLIC_TEST, Split.PRIVATE_TEST} <= set(splits) else []
    _print_metrics(manifest, [*splits, *both], arguments.plots)
    if Split.PRIVATE_TEST in splits:
        for corruption, accuracy in manifest.robustness.items():
            print(f"{corruption:>32} {accuracy:.2%}")
    if arguments.time:
        _print_latency(manifest)
    if arguments.augmentation is not None:
        accuracy = accuracy_with_augmentation(arguments.model, dataset, splits, arguments.augmentation)
        print(f"\n{'+'.join(splits)} with test-time augmentation ({arguments.augmentation}): {accuracy:.2%}")
    if arguments.write:
        write_manifest(arguments.model, manifest)


def _print_metrics(manifest: Manifest, names: Iterable[str], plot_folder: Path | None) -> None:
    """Print the metrics of the named splits against both kinds of labels, and plot them if a folder is given."""
    from training.evaluation import plots
    from training.evaluation.text_report import classification_table

    rows: dict[str, tuple[str, SplitMetrics]] = {}
    for name in names:
        rows[name] = f"{name}, original labels", manifest.metrics[name]
        if name in manifest.annotator_metrics:
            rows[f"{name}-annotators"] = f"{name}, annotators' majority labels", manifest.annotator_metrics[name]
    for key, (title, metrics) in rows.items():
        unique = metrics.accuracy_without_duplicates
        print(f"\n{title}" + ("" if unique is None else f" (without images that are in Training too: {unique:.2%})"))
        print(classification_table(metrics))
        if plot_folder is not None:
            plot_folder.mkdir(parents=True, exist_ok=True)
            heading = f"{manifest.contract.name} {manifest.contract.version}, {title}"
            plots.plot_confusion(metrics.confusion, heading, plot_folder / f"confusion-{key}.png")
            plots.plot_reliability(metrics, heading, plot_folder / f"reliability-{key}.png")


def _print_latency(manifest: Manifest) -> None:
    if manifest.latency is not None:
        times = ", ".join(f"{ms} ms at batch {batch}" for batch, ms in manifest.latency.ms_by_batch.items())
        print(f"\nTime per face on one core of {manifest.latency.processor}: {times}")


def _name_the_split() -> str:
    return (
        "expected --split for FER2013: Training, PublicTest or PrivateTest; repeat it for several. PrivateTest is for a"
        " final model only. Received: no --split"
    )
