"""Commands for shipped models: export, upgrade, card."""

from __future__ import annotations

import argparse
from pathlib import Path

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

    upgrade = commands.add_parser("upgrade", help="let an exported model use the preprocessing of this version")
    upgrade.add_argument("models", type=Path, nargs="+", help="ONNX files")
    upgrade.set_defaults(run_command=_upgrade)

    card = commands.add_parser("card", help="write the model card from the manifest")
    card.add_argument("model", type=Path, help="ONNX file")
    card.add_argument("--to", type=Path, default=Path("models/README.md"), help="output file (default: %(default)s)")
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


def _card(arguments: argparse.Namespace) -> None:
    from training.export.card import write_card

    write_card(arguments.model, arguments.to, arguments.seeds)
