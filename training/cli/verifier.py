"""Commands for the face verifier: verifier mine, verifier train, verifier calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from app.contract.verifier import VerifierManifest, load_verifier_manifest
from training.cli.options import CONFIGS, Commands, add_data, add_votes, at_least, load_dataset, optional_votes
from training.verifier.mining import MinedCrops, load_crops, mine, save_crops, write_sheet

_MINED = Path("runs/face_verifier")
_MODEL = Path("models/detection/face_verifier.onnx")


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    verifier = commands.add_parser("verifier", help="the face verifier: mine crops without faces, train, calibrate")
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
    train.add_argument("--to", type=Path, default=_MODEL, help="ONNX file to write (default: %(default)s)")
    _add_crops(train)
    train.set_defaults(run_command=_train)

    calibrate = actions.add_parser("calibrate", help="calibrate an exported network again, without training")
    calibrate.add_argument(
        "model", nargs="?", type=Path, default=_MODEL, help="ONNX file to change (default: %(default)s)"
    )
    calibrate.add_argument(
        "--face-prior",
        type=float,
        required=True,
        help="share of faces among the boxes that the network judges; `python -m benchmarks.judged_boxes` measures it",
    )
    calibrate.add_argument(
        "--threshold", type=float, required=True, help="smallest probability that a detector returns"
    )
    _add_crops(calibrate)
    calibrate.set_defaults(run_command=_calibrate)


def _add_crops(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, default=_MINED / "train.npz", help="mined crops (default: %(default)s)")
    parser.add_argument(
        "--test", type=Path, default=_MINED / "test.npz", help="mined crops of other pictures (default: %(default)s)"
    )
    add_data(parser)
    add_votes(parser)


def _mine(arguments: argparse.Namespace) -> None:
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

    config = load_verifier_config(arguments.config)
    crops = _load_crops(arguments, config.excluded_pictures)
    dataset, votes = load_dataset(arguments), optional_votes(arguments.votes, arguments.data)

    # Imported last: Keras takes seconds, and an error in the arguments should be reported at once.
    from training.verifier.train import train_verifier

    _report(train_verifier(config, dataset, votes, *crops, arguments.to), arguments.to)


def _calibrate(arguments: argparse.Namespace) -> None:
    recipe = load_verifier_manifest(arguments.model).provenance["config"]
    crops = _load_crops(arguments, recipe["excluded_pictures"])
    dataset, votes = load_dataset(arguments), optional_votes(arguments.votes, arguments.data)

    from training.verifier.train import recalibrate

    manifest = recalibrate(arguments.model, dataset, votes, *crops, arguments.face_prior, arguments.threshold)
    _report(manifest, arguments.model)


def _load_crops(arguments: argparse.Namespace, excluded: Sequence[str]) -> tuple[MinedCrops, MinedCrops]:
    return load_crops(arguments.train, excluded), load_crops(arguments.test, excluded)


def _report(manifest: VerifierManifest, path: Path) -> None:
    print(f"Wrote {path}, threshold {manifest.threshold}")
    for name, value in manifest.metrics.items():
        print(f"{name:>40} {value:g}")
