"""The command line: `python -m training <verb>`. Parses, calls one module, prints errors as sentences."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("KERAS_BACKEND", "torch")

from app.contract.manifest import ManifestError
from training.data.fer2013 import Split, load_fer2013
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.data.annotator_votes import VotesFile

_DEFAULT_DATA = Path("../shared/data/fer2013.zip")
_VOTES = "ferplus_votes.csv"
_CONFIGS = Path(__file__).parent / "configs"
_FAIR = _CONFIGS / "fair.toml"
_SEEDS = Path("training/results/seeds.json")
_INTERRUPTED = 130  # what a shell reports for SIGINT


def main() -> int:
    """Runs one verb; returns the exit status."""
    arguments = _parser().parse_args()
    run: Callable[[argparse.Namespace], None] = arguments.run_verb
    try:
        run(arguments)
    except (TrainingError, ManifestError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. At most the current epoch is lost: the same command goes on from there.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="verb")

    train = verbs.add_parser("train", help="train a config, or go on with its run")
    train.add_argument("--config", type=Path, required=True, help="a TOML file of training/configs")
    train.add_argument("--architecture", metavar="KEY", help="train this network by the config's recipe instead")
    train.add_argument("--seed", type=int, help="instead of the config's")
    train.add_argument("--run", type=Path, help="run folder (default: runs/<name>-seed<seed>)")
    _add_data(train)
    _add_votes(train)
    train.set_defaults(run_verb=_train)

    compare = verbs.add_parser("compare", help="train and measure many configs into one leaderboard")
    compare.add_argument("configs", nargs="*", type=Path, help="TOML files (default: all of training/configs)")
    compare.add_argument(
        "--fair", action="append", default=[], metavar="KEY", help="add KEY, or `all`, trained by the shared recipe"
    )
    compare.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders are (default: %(default)s)")
    compare.add_argument("--to", type=Path, default=Path("training/results"), help="(default: %(default)s)")
    compare.add_argument(
        "--ensemble", action="append", default=[], type=Path, help="also measure this ensemble of finished runs (TOML)"
    )
    compare.add_argument("--jobs", type=int, default=1, help="configs trained side by side (default: %(default)s)")
    compare.add_argument(
        "--smoke", action="store_true", help="only: every architecture through all stages on generated images"
    )
    _add_data(compare)
    _add_votes(compare)
    compare.set_defaults(run_verb=_compare)

    tune = verbs.add_parser("tune", help="search for better values of a recipe's options; goes on when stopped")
    tune.add_argument("study", type=Path, help="a TOML file of training/configs/studies")
    tune.add_argument("--to", type=Path, help="folder (default: runs/tune/<name>)")
    _add_data(tune)
    _add_votes(tune)
    tune.set_defaults(run_verb=_tune)

    explore = verbs.add_parser("explore", help="print and plot what the dataset holds")
    explore.add_argument("--out", type=Path, default=Path("runs/explore"), help="folder (default: %(default)s)")
    _add_data(explore)
    explore.set_defaults(run_verb=_explore)

    _add_export(verbs)
    _add_evaluate(verbs)
    seeds = verbs.add_parser("seeds", help="mean and spread of finished runs that differ in their seed alone")
    seeds.add_argument("runs", nargs="+", type=Path, help="run folders")
    seeds.add_argument("--to", type=Path, default=_SEEDS, help="(default: %(default)s)")
    _add_precision(seeds, "int8")
    _add_data(seeds)
    _add_votes(seeds)
    seeds.set_defaults(run_verb=_seeds)

    restore = verbs.add_parser("restore", help="make a run folder of a shipped model, to train it on")
    restore.add_argument("model", type=Path, help="ONNX file in full precision")
    restore.add_argument("--to", type=Path, required=True, help="run folder, for the `start` of a config")
    _add_data(restore)
    restore.set_defaults(run_verb=_restore)

    card = verbs.add_parser("card", help="write the model card from the manifest")
    card.add_argument("model", type=Path, help="ONNX file")
    card.add_argument("--to", type=Path, default=Path("models/README.md"), help="(default: %(default)s)")
    card.add_argument("--seeds", type=Path, default=_SEEDS, help="what `seeds` wrote, if it did (default: %(default)s)")
    card.set_defaults(run_verb=_card)
    return parser


def _add_export(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = verbs.add_parser("export", help="turn a finished run into the files that the service loads")
    export.add_argument("run", type=Path, help="run folder, or the TOML file of an ensemble of runs")
    export.add_argument("--to", type=Path, default=Path("models/fer_vgg.onnx"), help="(default: %(default)s)")
    export.add_argument(
        "--head",
        choices=["original", "crowd"],
        default="original",
        help="which labels the model answers in, of those that the run learned (default: %(default)s)",
    )
    _add_precision(export, "float32")
    _add_data(export)
    _add_votes(export)
    export.set_defaults(run_verb=_export)


def _add_evaluate(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = verbs.add_parser("evaluate", help="measure a shipped model and write the figures into its manifest")
    evaluate.add_argument("model", type=Path, help="ONNX file")
    evaluate.add_argument(
        "--split",
        action="append",
        required=True,
        choices=[split.value for split in Split],
        help="repeat for several; PrivateTest only for a model that is final",
    )
    evaluate.add_argument("--device", choices=["cpu", "cuda", "auto"], default="cpu")
    evaluate.add_argument(
        "--views", choices=["flip", "ten_crop"], help="also print the accuracy with test-time augmentation"
    )
    evaluate.add_argument(
        "--time", action="store_true", help="also measure what a face costs on one core; nothing else should run"
    )
    evaluate.add_argument("--plots", type=Path, help="folder for confusion matrices")
    _add_data(evaluate)
    _add_votes(evaluate)
    evaluate.set_defaults(run_verb=_evaluate)


def _add_precision(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--precision",
        choices=["float32", "float16", "int8"],
        default=default,
        help="of the file's arithmetic (default: %(default)s)",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=_DEFAULT_DATA, help="FER2013: .zip, folder or .csv (default: %(default)s)"
    )


def _add_votes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--votes", type=Path, help=f"the crowd's votes, a .csv (default: {_VOTES} beside --data)")


def _train(arguments: argparse.Namespace) -> None:
    from training.config import load_config
    from training.data.annotator_votes import VotesFile
    from training.fit.run_folder import RunFolder
    from training.fit.train import train

    config = load_config(arguments.config, arguments.seed)
    if arguments.architecture is not None:
        config = config.with_architecture(arguments.architecture)
    folder = arguments.run or Path("runs") / f"{config.name}-seed{config.seed}"
    dataset = load_fer2013(arguments.data)
    votes = None if config.crowd is None else VotesFile(_votes_path(arguments))
    train(config, dataset, RunFolder(folder), votes)


def _compare(arguments: argparse.Namespace) -> None:
    from training.architectures import ARCHITECTURES
    from training.config import load_config
    from training.data.annotator_votes import VotesFile
    from training.studies.compare import compare
    from training.studies.ensemble import load_ensemble
    from training.studies.smoke import smoke

    if arguments.smoke:
        smoke()
        return
    paths = arguments.configs
    if not (paths or arguments.fair or arguments.ensemble):
        paths = [path for path in sorted(_CONFIGS.glob("*.toml")) if path != _FAIR]
    configs = [load_config(path) for path in paths]
    fair = load_config(_FAIR)
    keys = ARCHITECTURES if "all" in arguments.fair else arguments.fair
    configs += [fair.with_architecture(key) for key in keys]
    ensembles = [load_ensemble(path) for path in arguments.ensemble]
    votes = VotesFile(_votes_path(arguments)) if any(config.crowd is not None for config in configs) else None
    dataset = load_fer2013(arguments.data)
    compare(configs, dataset, arguments.runs, arguments.to, votes, ensembles, arguments.jobs)


def _tune(arguments: argparse.Namespace) -> None:
    from training.config import load_config
    from training.data.annotator_votes import VotesFile
    from training.studies.study import load_study
    from training.studies.tune import tune

    study = load_study(arguments.study)
    votes = None if load_config(study.base).crowd is None else VotesFile(_votes_path(arguments))
    folder = arguments.to or Path("runs") / "tune" / study.name
    best = tune(study, load_fer2013(arguments.data), folder, votes)["best"]
    print(f"Best of {study.trials} trials: PublicTest {best['val_accuracy']:.2%} with {best['parameters']}")


def _explore(arguments: argparse.Namespace) -> None:
    from training.data.explore import explore

    explore(load_fer2013(arguments.data), arguments.out)


def _export(arguments: argparse.Namespace) -> None:
    from training.architectures.heads import Head
    from training.export.export import export
    from training.fit.run_folder import RunFolder
    from training.studies.ensemble import export_ensemble, load_ensemble

    head = Head[arguments.head.upper()]
    dataset, votes = load_fer2013(arguments.data), _votes_if_there(arguments)
    if arguments.run.suffix == ".toml":
        manifest = export_ensemble(load_ensemble(arguments.run), dataset, arguments.to, arguments.precision)
    else:
        manifest = export(RunFolder(arguments.run), dataset, arguments.to, votes, head, arguments.precision)
    figures = manifest.metrics if head is Head.ORIGINAL else manifest.annotator_metrics
    measured = figures[Split.PUBLIC_TEST]
    print(
        f"Wrote {arguments.to}, version {manifest.contract.version}: PublicTest accuracy {measured.accuracy:.2%},"
        f" temperature {manifest.contract.temperature}, ECE {measured.ece_before_temperature:.3f} -> {measured.ece:.3f}"
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluation import plots
    from training.evaluation.evaluate import record
    from training.evaluation.test_time_augmentation import accuracy_with_augmentation
    from training.evaluation.text_report import classification_table

    splits = [Split(name) for name in dict.fromkeys(arguments.split)]
    dataset, votes = load_fer2013(arguments.data), _votes_if_there(arguments)
    manifest = record(arguments.model, dataset, splits, votes, arguments.device, timed=arguments.time)
    judged = {name: (f"{name}, FER2013's labels", row) for name, row in manifest.metrics.items()} | {
        f"{name}-crowd": (f"{name}, the crowd's labels", row) for name, row in manifest.annotator_metrics.items()
    }
    for key, (title, measured) in judged.items():
        without = measured.accuracy_without_duplicates
        print(
            f"\n{title}" + ("" if without is None else f" (without images that stand in Training too: {without:.2%})")
        )
        print(classification_table(measured))
        if arguments.plots is not None:
            arguments.plots.mkdir(parents=True, exist_ok=True)
            heading = f"{manifest.contract.name} {manifest.contract.version}, {title}"
            plots.plot_confusion(measured.confusion, heading, arguments.plots / f"confusion-{key}.png")
            plots.plot_reliability(measured, heading, arguments.plots / f"reliability-{key}.png")
    for disturbance, accuracy in manifest.robustness.items():
        print(f"{disturbance:>32} {accuracy:.2%}")
    if arguments.views is not None:
        accuracy = accuracy_with_augmentation(arguments.model, dataset, splits, arguments.views)
        print(f"\n{'+'.join(splits)}, views averaged ({arguments.views}): {accuracy:.2%}")


def _seeds(arguments: argparse.Namespace) -> None:
    from training.export.card_tables import seeds_table
    from training.fit.run_folder import RunFolder
    from training.studies.seeds import measure_seeds

    runs = [RunFolder(path) for path in arguments.runs]
    dataset, votes = load_fer2013(arguments.data), _votes_if_there(arguments)
    print(seeds_table(measure_seeds(runs, dataset, arguments.to, votes, arguments.precision)))


def _votes_path(arguments: argparse.Namespace) -> Path:
    named: Path | None = arguments.votes
    return named if named is not None else arguments.data.parent / _VOTES


def _votes_if_there(arguments: argparse.Namespace) -> VotesFile | None:
    """The crowd's votes; without their file the figures against the crowd's labels are left out."""
    from training.data.annotator_votes import VotesFile

    path = _votes_path(arguments)
    if arguments.votes is None and not path.exists():
        print(f"No {path}: the crowd's labels are left out.", file=sys.stderr)
        return None
    return VotesFile(path)


def _restore(arguments: argparse.Namespace) -> None:
    from training.fit.restore import restore
    from training.fit.run_folder import RunFolder

    restore(arguments.model, load_fer2013(arguments.data), RunFolder(arguments.to))
    print(f"Wrote {arguments.to}: name it as `start` in a config to train {arguments.model.name} on.")


def _card(arguments: argparse.Namespace) -> None:
    from training.export.card import write_card

    write_card(arguments.model, arguments.to, arguments.seeds)


if __name__ == "__main__":
    sys.exit(main())
