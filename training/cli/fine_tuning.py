"""Command that adapts a shipped model to a labelled set: fine-tune."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.cli.labelled_options import add_labelled_data, joined_name, load_labelled_data
from training.cli.options import Commands, add_tensorboard, at_least
from training.data.labelled import LabelledData, SplitName, with_validation

_EPILOG = (
    "Repeat the command to continue an interrupted run. Everything is chosen on the validation split; the test split is"
    " measured at the end."
)
_FEW = 10  # training images of a class


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    tune = commands.add_parser("fine-tune", help="adapt a model to your own labelled set", epilog=_EPILOG)
    tune.add_argument("model", type=Path, help="ONNX file in full precision, such as models/fer_vgg_fp32.onnx")
    tune.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="FILE.onnx",
        help="file to write, in int8; FILE_fp32.onnx and the card FILE.md are written beside it",
    )
    tune.add_argument("--run", type=Path, help="folder of the run (default: runs/fine_tune_<name of --to>)")
    tune.add_argument("--config", type=Path, help="recipe (default: training/fine_tuning/default.toml)")
    tune.add_argument("--epochs", type=at_least(1), help="number of epochs (default: 4 to 20, by the number of images)")
    tune.add_argument("--seed", type=at_least(0), help="replaces the seed of the recipe")
    tune.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="LAYERS",
        help="do not train the layers whose names begin with this: block1 for the first stage, block for all"
        " convolutions; repeat",
    )
    add_tensorboard(tune)
    add_labelled_data(tune)
    tune.set_defaults(run_command=_fine_tune)


def _fine_tune(arguments: argparse.Namespace) -> None:
    # Imported here: Keras takes seconds.
    from training.export.own_card import write_own_card
    from training.fine_tuning.comparison import size_warning, table, verdict
    from training.fine_tuning.fine_tune import Options, check_data, check_options, fine_tune
    from training.fine_tuning.recipe import DEFAULT_RECIPE

    options = Options(
        model=arguments.model,
        to=arguments.to,
        run=arguments.run or Path("runs") / f"fine_tune_{arguments.to.stem}",
        recipe=arguments.config or DEFAULT_RECIPE,
        seed=arguments.seed,
        epochs=arguments.epochs,
        frozen_layers=arguments.freeze,
        tensorboard=arguments.tensorboard,
    )
    check_options(options)
    data = load_labelled_data(arguments, fer2013_tests=False)
    with_split = with_validation(data, keep_similar=arguments.keep_similar)
    if with_split is not data:
        print(with_split.report.notes[-1], file=sys.stderr)
    check_data(with_split)
    _print_warnings(with_split, size_warning(len(with_split[SplitName.TEST])))
    result = fine_tune(options, with_split, joined_name(arguments.data))
    card = options.to.with_suffix(".md")
    write_own_card(options.to, card)
    print(f"\n{table(result.test)}\n\n{verdict(result.test)}")
    print(
        f"\nWrote {options.to}, {options.full_precision} and {card}. Serve the model:\n"
        f"  FER_MODEL={options.to} .venv/bin/python -m app"
    )


def _print_warnings(data: LabelledData, size: str | None) -> None:
    if size is not None:
        print(size, file=sys.stderr)
    training = data[SplitName.TRAIN]
    few = [f"{label} ({count})" for label, count in training.named_counts().items() if count < _FEW]
    if few:
        print(
            f"Warning: few training images: {', '.join(few)}. The model may forget these classes. Join other data"
            " with a further --data, for example FER2013.",
            file=sys.stderr,
        )
