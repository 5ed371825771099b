"""Commands for shipped models: export, significance, adjusted, upgrade, card."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.contract.manifest import load_manifest
from training.cli.options import (
    SEEDS_FILE,
    Commands,
    add_data,
    add_precision,
    add_votes,
    load_dataset,
    optional_votes,
)
from training.data.splits import Split


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    _add_export(commands)
    _add_significance(commands)
    _add_adjusted(commands)
    _add_upgrade(commands)
    _add_card(commands)


def _add_export(commands: Commands) -> None:
    export = commands.add_parser("export", help="convert a finished run into the files that the service loads")
    export.add_argument("run", type=Path, help="run folder, or the TOML file of an ensemble of runs")
    export.add_argument(
        "--to", type=Path, default=Path("models/fer_vgg.onnx"), help="ONNX file to write (default: %(default)s)"
    )
    export.add_argument(
        "--head",
        choices=["original", "annotators"],
        default="original",
        help="head to export: FER2013's original labels or the annotator votes (default: %(default)s)",
    )
    add_precision(export, "float32")
    add_data(export)
    add_votes(export)
    export.set_defaults(run_command=_export)


def _add_significance(commands: Commands) -> None:
    significance = commands.add_parser("significance", help="compare two shipped models by McNemar's test")
    significance.add_argument("first", type=Path, help="ONNX file")
    significance.add_argument("second", type=Path, help="ONNX file")
    significance.add_argument(
        "--final", action="store_true", help="also open PrivateTest; only for a final model (default: PublicTest only)"
    )
    add_data(significance)
    significance.set_defaults(run_command=_significance)


def _add_adjusted(commands: Commands) -> None:
    adjusted = commands.add_parser("adjusted", help="accuracy and macro recall on PublicTest with logit adjustment")
    adjusted.add_argument("model", type=Path, help="ONNX file")
    add_data(adjusted)
    adjusted.set_defaults(run_command=_adjusted)


def _add_upgrade(commands: Commands) -> None:
    upgrade = commands.add_parser("upgrade", help="change an exported model to the preprocessing of this version")
    upgrade.add_argument("models", type=Path, nargs="+", help="ONNX files")
    upgrade.set_defaults(run_command=_upgrade)


def _add_card(commands: Commands) -> None:
    card = commands.add_parser("card", help="write the model card from the manifest")
    card.add_argument("model", type=Path, help="ONNX file")
    card.add_argument(
        "--to", type=Path, help="output file (default: models/README.md; for a fine-tuned model its own name with .md)"
    )
    card.add_argument(
        "--seeds", type=Path, default=SEEDS_FILE, help="output file of `seeds`, if it exists (default: %(default)s)"
    )
    card.set_defaults(run_command=_card)


def _export(arguments: argparse.Namespace) -> None:
    from training.architectures.heads import Head
    from training.export.export import export
    from training.fit.run_folder import RunFolder
    from training.studies.ensemble import export_ensemble, load_ensemble

    head = Head[arguments.head.upper()]
    dataset, votes = load_dataset(arguments), optional_votes(arguments.votes, arguments.data)
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


def _upgrade(arguments: argparse.Namespace) -> None:
    from training.export.upgrade import upgrade

    for path in arguments.models:
        contract = upgrade(path).contract
        print(f"{path} is version {contract.version} now, with the preprocessing {contract.preprocess_id}.")
    print("Measure the models again with `python -m training evaluate`, and write their cards.")


def _significance(arguments: argparse.Namespace) -> None:
    from training.evaluation.significance import compare_models

    compared = compare_models(arguments.first, arguments.second, load_dataset(arguments), final=arguments.final)
    for split, result in compared.items():
        names = (arguments.first.stem, arguments.second.stem)
        accuracies = ", ".join(f"{name} {value:.2%}" for name, value in zip(names, result.accuracies, strict=True))
        print(
            f"{split}, {result.images} images: {accuracies};"
            f" difference {100 * result.difference:+.2f} points (standard error {100 * result.standard_error:.2f})\n"
            f"  only the first is right on {result.only_first} images, only the second on {result.only_second};"
            f" p = {result.p_value:.3g} (McNemar, exact)"
        )


def _adjusted(arguments: argparse.Namespace) -> None:
    from training.evaluation.adjusted import measure_adjusted

    rows = measure_adjusted(arguments.model, load_dataset(arguments))
    print("PublicTest: factor, accuracy, macro recall, macro F1, ECE")
    for row in rows:
        metrics = row.metrics
        print(
            f"{row.factor:>18.2f} {metrics.accuracy:.2%} {metrics.macro_recall:.2%} {metrics.macro_f1:.3f}"
            f" {metrics.ece:.3f}"
        )


def _card(arguments: argparse.Namespace) -> None:
    from training.export.card import write_card
    from training.export.own_card import is_fine_tuned, write_own_card

    if is_fine_tuned(load_manifest(arguments.model)):
        write_own_card(arguments.model, arguments.to or arguments.model.with_suffix(".md"))
    else:
        write_card(arguments.model, arguments.to or Path("models/README.md"), arguments.seeds)
