"""The command line: `python -m training <verb>`. Parses, calls one module, prints errors as sentences."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

from training.data import load_fer2013
from training.errors import TrainingError

_DEFAULT_DATA = Path("../shared/data/fer2013.zip")
_INTERRUPTED = 130  # what a shell reports for SIGINT


def main() -> int:
    """Runs one verb; returns the exit status."""
    arguments = _parser().parse_args()
    run: Callable[[argparse.Namespace], None] = arguments.run_verb
    try:
        run(arguments)
    except TrainingError as error:
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
    train.add_argument("--run", type=Path, help="run folder (default: runs/<name>-seed<seed>)")
    _add_data(train)
    train.set_defaults(run_verb=_train)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=_DEFAULT_DATA, help="FER2013: .zip, folder or .csv (default: %(default)s)"
    )


def _train(arguments: argparse.Namespace) -> None:
    from training.config import load_config
    from training.run import RunFolder
    from training.train import train

    config = load_config(arguments.config)
    folder = arguments.run or Path("runs") / f"{config.name}-seed{config.seed}"
    train(config, load_fer2013(arguments.data), RunFolder(folder))


if __name__ == "__main__":
    sys.exit(main())
