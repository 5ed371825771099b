"""Commands for the face verifier: verifier mine, verifier train."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.cli.options import CONFIGS, Commands, add_data, add_votes, at_least, load_dataset, optional_votes

_MINED = Path("runs/face_verifier")


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    verifier = commands.add_parser("verifier", help="the face verifier: mine crops without faces, train")
    actions = verifier.add_subparsers(required=True, metavar="action")

    mine = actions.add_parser("mine", help="crop what OpenCV's cascades propose on pictures without faces")
    mine.add_argument("folders", nargs="+", type=Path, help="folders of pictures, searched recursively")
    mine.add_argument("--to", type=Path, required=True, help="NPZ file to write; a contact sheet is written beside it")
    mine.add_argument("--per-picture", type=at_least(1), default=60, help="crops of one picture (default: %(default)s)")
    mine.add_argument(
        "--yunet",
        type=Path,
        default=Path("../shared/data/yunet/face_detection_yunet_2023mar.onnx"),
        help="model that marks faces, so that none becomes a crop without a face (default: %(default)s)",
    )
    mine.set_defaults(run_command=_mine)

    train = actions.add_parser("train", help="train, calibrate, measure and export the network; takes minutes")
    train.add_argument(
        "--config",
        type=Path,
        default=CONFIGS / "verifier" / "face_verifier.toml",
        help="TOML file of the training (default: %(default)s)",
    )
    train.add_argument("--train", type=Path, default=_MINED / "train.npz", help="mined crops (default: %(default)s)")
    train.add_argument(
        "--test", type=Path, default=_MINED / "test.npz", help="mined crops of other pictures (default: %(default)s)"
    )
    train.add_argument(
        "--to",
        type=Path,
        default=Path("models/detection/face_verifier.onnx"),
        help="ONNX file to write (default: %(default)s)",
    )
    add_data(train)
    add_votes(train)
    train.set_defaults(run_command=_train)


def _mine(arguments: argparse.Namespace) -> None:
    from training.verifier.mining import mine, save_crops, write_sheet

    mined = mine(arguments.folders, arguments.yunet, arguments.per_picture, seed=1)
    save_crops(arguments.to, mined)
    write_sheet(arguments.to.with_suffix(".others.png"), mined.others)
    write_sheet(arguments.to.with_suffix(".faces.png"), mined.faces)
    print(
        f"Wrote {arguments.to}: {len(mined.others)} crops without a face of {len(set(mined.other_sources))} pictures,"
        f" and {len(mined.faces)} faces. Look at the contact sheets, and exclude statues and portraits in the config."
    )


def _train(arguments: argparse.Namespace) -> None:
    from training.verifier.config import load_verifier_config
    from training.verifier.mining import load_crops

    config = load_verifier_config(arguments.config)
    train, test = (load_crops(path, config.excluded_pictures) for path in (arguments.train, arguments.test))
    dataset, votes = load_dataset(arguments), optional_votes(arguments.votes, arguments.data)

    # Imported last: Keras takes seconds, and an error in the arguments should be reported at once.
    from training.verifier.train import train_verifier

    manifest = train_verifier(config, dataset, votes, train, test, arguments.to)
    print(f"Wrote {arguments.to}, threshold {config.threshold}")
    for name, value in manifest.metrics.items():
        print(f"{name:>40} {value:g}")
