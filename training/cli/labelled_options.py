"""Options of the commands that take any labelled set: `--data`, `--classes`, `--drop`, `--crop`, `--strict`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.data.labelled import LabelledData, load_labelled, parse_sources


def add_labelled_data(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that name labelled sets."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        action="append",
        required=required,
        metavar="PATH[@WEIGHT]",
        help="folder or .zip with <split>/<class>/<image> or <class>/<image>, .csv with path,label[,split][,...], or"
        " FER2013; repeat to join several, each with a weight in the loss, for example mine.csv@2",
    )
    group.add_argument(
        "--classes",
        action="append",
        default=[],
        metavar="MAP",
        help="meaning of class names and numbers: names (default), rafdb, affectnet, or a .toml file with [classes];"
        " once, or once for each --data",
    )
    group.add_argument(
        "--drop", action="append", default=[], metavar="CLASS", help="leave a class out, for example contempt; repeat"
    )
    group.add_argument(
        "--crop", action="store_true", help="find the largest face of each image (default: an image is one face)"
    )
    group.add_argument(
        "--keep-similar",
        action="store_true",
        help="leave only identical images out of training where splits share them (default: similar ones too)",
    )
    group.add_argument(
        "--split-by",
        metavar="COLUMN",
        help="column of the CSV, such as the person: images with the same value get the same split (default: split by"
        " the content of each file, where the data states no splits)",
    )
    group.add_argument("--strict", action="store_true", help="stop if a file cannot be used (default: leave it out)")


def load_labelled_data(arguments: argparse.Namespace, *, fer2013_tests: bool = True) -> LabelledData:
    """Read the labelled sets that the options name, and print the report to standard error.

    Without `fer2013_tests`, only the Training split of FER2013 is read.
    """
    sources = parse_sources(arguments.data, arguments.classes)
    data = load_labelled(
        sources,
        arguments.drop,
        crop=arguments.crop,
        strict=arguments.strict,
        keep_similar=arguments.keep_similar,
        split_by=arguments.split_by,
        fer2013_tests=fer2013_tests,
    )
    if text := data.report.text():
        print(text, file=sys.stderr)
    return data


def joined_name(values: Sequence[str]) -> str:
    """Return the name of the joined values of `--data` in a manifest."""
    return "+".join(Path(value).name for value in values)
