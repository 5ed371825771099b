"""Command that makes data to try the other commands with: example-set."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.cli.options import Commands, add_data, add_votes, load_dataset, optional_votes
from training.data.example_set import MAX_TRAIN_IMAGES, write_example_set
from training.errors import TrainingError


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    example = commands.add_parser(
        "example-set", help="make a labelled set like a user's from PublicTest of FER2013 and the annotator votes"
    )
    example.add_argument("--to", type=Path, required=True, help="folder to create")
    example.add_argument(
        "--images", type=int, default=MAX_TRAIN_IMAGES, help="number of training images (default: %(default)s)"
    )
    add_data(example)
    add_votes(example)
    example.set_defaults(run_command=_example_set)


def _example_set(arguments: argparse.Namespace) -> None:
    votes = optional_votes(arguments.votes, arguments.data)
    if votes is None:
        raise TrainingError("example-set needs the annotator votes: name the CSV of FER+ with --votes.")
    counts = write_example_set(load_dataset(arguments), votes, arguments.to, arguments.images)
    print(
        f"Wrote {counts['train']} training and {counts['test']} test images to {arguments.to}: use"
        f" --data {arguments.to / 'labels.csv'} --classes rafdb"
    )
