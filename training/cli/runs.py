"""Commands for the dataset and single runs: explore, train, restore, pack, unpack."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.architectures import ARCHITECTURES
from training.cli.labelled_options import add_labelled_data, load_labelled_data
from training.cli.options import (
    DEFAULT_DATA,
    Commands,
    add_data,
    add_tensorboard,
    add_votes,
    add_workers,
    at_least,
    load_dataset,
    votes_for,
)
from training.config import load_config
from training.fit.history_log import check_tensorboard, tensorboard_log


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    explore = commands.add_parser("explore", help="print and plot an audit of any labelled set")
    explore.add_argument("--out", type=Path, default=Path("runs/explore"), help="output folder (default: %(default)s)")
    add_labelled_data(explore, required=False)
    explore.set_defaults(run_command=_explore)

    train = commands.add_parser("train", help="train a config; repeat the command to continue an interrupted run")
    train.add_argument("--config", type=Path, required=True, help="TOML file, for example of training/configs")
    train.add_argument(
        "--architecture", choices=ARCHITECTURES, metavar="KEY", help="train this network with the recipe of the config"
    )
    train.add_argument("--seed", type=at_least(0), help="replaces the seed of the config")
    train.add_argument("--run", type=Path, help="run folder (default: runs/<name>-seed<seed>)")
    add_workers(train)
    add_tensorboard(train)
    add_data(train)
    add_votes(train)
    train.set_defaults(run_command=_train)

    restore = commands.add_parser("restore", help="make a run folder from a shipped model, for a warm start")
    restore.add_argument("model", type=Path, help="ONNX file in full precision")
    restore.add_argument("--to", type=Path, required=True, help="run folder, for `warm_start` of a config")
    add_data(restore)
    restore.set_defaults(run_command=_restore)

    pack = commands.add_parser("pack", help="write a run into one small file, to move it to another machine")
    pack.add_argument("run", type=Path, help="run folder")
    pack.add_argument("--to", type=Path, required=True, help=".npz file to write")
    pack.set_defaults(run_command=_pack)

    unpack = commands.add_parser("unpack", help="make a run folder from a packed run, for `export` and later runs")
    unpack.add_argument("archive", type=Path, help=".npz file of `pack` or `plan`")
    unpack.add_argument("--to", type=Path, required=True, help="run folder to write")
    add_data(unpack)
    unpack.set_defaults(run_command=_unpack)


def _explore(arguments: argparse.Namespace) -> None:
    from training.data.explore import explore
    from training.data.labelled.audit import audit
    from training.data.labelled.fer2013_source import complete_fer2013

    arguments.data = arguments.data or [str(DEFAULT_DATA)]
    own = len(arguments.data) > 1 or arguments.drop
    dataset = None if own else complete_fer2013(Path(arguments.data[0]))
    if dataset is not None:
        explore(dataset, arguments.out)
    else:
        audit(load_labelled_data(arguments), arguments.out)


def _train(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.config, arguments.seed)
    if arguments.architecture is not None:
        config = config.with_architecture(arguments.architecture)
    folder = arguments.run or Path("runs") / config.run_name
    check_tensorboard(arguments.tensorboard)
    dataset, votes = load_dataset(arguments), votes_for([config], arguments)

    # Imported last: Keras takes seconds, and an error in the arguments should be reported at once.
    from training.fit.run_folder import RunFolder
    from training.fit.train import train

    with tensorboard_log(arguments.tensorboard) as log:
        train(config, dataset, RunFolder(folder), votes, workers=arguments.workers, log=log)


def _restore(arguments: argparse.Namespace) -> None:
    from training.fit.restore import restore
    from training.fit.run_folder import RunFolder

    restore(arguments.model, load_dataset(arguments), RunFolder(arguments.to))
    print(f"Wrote {arguments.to}: set `warm_start` of a config to this folder to train {arguments.model.name} further.")


def _pack(arguments: argparse.Namespace) -> None:
    from training.fit.archive import pack
    from training.fit.run_folder import RunFolder

    pack(RunFolder(arguments.run), arguments.to)
    print(f"Wrote {arguments.to}, {arguments.to.stat().st_size / 1e6:.1f} MB.")


def _unpack(arguments: argparse.Namespace) -> None:
    from training.fit.archive import unpack
    from training.fit.run_folder import RunFolder

    unpack(arguments.archive, load_dataset(arguments), RunFolder(arguments.to))
    print(f"Wrote {arguments.to}: `export` converts it, and later runs can name it.")
