"""Options that several commands share, and the inputs that they name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from training.config import TrainConfig
from training.data.annotator_votes import AnnotatorVotes
from training.data.fer2013 import load_fer2013
from training.data.splits import Fer2013

CONFIGS = Path(__file__).parents[1] / "configs"
SEEDS_FILE = Path("training/results/seeds.json")

DEFAULT_DATA = Path("../shared/data/fer2013.zip")
_VOTES = "ferplus_votes.csv"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def at_least(minimum: int) -> Callable[[str], int]:
    """Return the type of an option: a whole number of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}. Received: {text}")
        return number

    return parse


def positive(text: str) -> float:
    """Return the number of an option that must be greater than 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number greater than 0. Received: {text}")
    return number


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, help="FER2013 as .zip, folder or .csv (default: %(default)s)"
    )


def add_votes(parser: argparse.ArgumentParser) -> None:
    """Add `--votes`."""
    parser.add_argument("--votes", type=Path, help=f"CSV of the annotator votes (default: {_VOTES} beside --data)")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`."""
    parser.add_argument(
        "--workers",
        type=at_least(0),
        default=0,
        help="processes that augment batches ahead, for a GPU; the result is the same (default: %(default)s)",
    )


def add_tensorboard(parser: argparse.ArgumentParser) -> None:
    """Add `--tensorboard`."""
    parser.add_argument(
        "--tensorboard",
        type=Path,
        metavar="FOLDER",
        help="also write the figures of each epoch for TensorBoard; needs requirements/tensorboard.txt",
    )


def add_precision(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--precision` of an exported file."""
    parser.add_argument(
        "--precision",
        choices=["float32", "float16", "int8"],
        default=default,
        help="arithmetic of the exported file (default: %(default)s)",
    )


def load_dataset(arguments: argparse.Namespace) -> Fer2013:
    """Load the dataset that `--data` names."""
    return load_fer2013(arguments.data)


def votes_for(configs: Iterable[TrainConfig], arguments: argparse.Namespace) -> AnnotatorVotes | None:
    """Read the annotator votes if a config has an annotators' head; None otherwise."""
    if all(config.annotator_votes is None for config in configs):
        return None
    return AnnotatorVotes(_votes_path(arguments.votes, arguments.data))


def optional_votes(named: Path | None, data: Path) -> AnnotatorVotes | None:
    """Read the annotator votes; None, with a message, if none are named and there is no file beside the data."""
    path = _votes_path(named, data)
    if named is None and not path.exists():
        print(f"{path} does not exist: figures against the annotator votes are left out.", file=sys.stderr)
        return None
    return AnnotatorVotes(path)


def _votes_path(named: Path | None, data: Path) -> Path:
    return named if named is not None else data.parent / _VOTES
