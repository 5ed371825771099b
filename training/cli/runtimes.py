"""Command that measures a network in other runtimes: runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contract.manifest import load_manifest
from training.cli.labelled_options import add_labelled_data, load_labelled_data
from training.cli.options import DEFAULT_DATA, Commands
from training.data.labelled import ALL, SplitName, parse_split
from training.data.labelled.dataset import OFFICIAL_SPLITS
from training.data.labelled.fer2013_source import complete_fer2013


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    runtimes = commands.add_parser("runtimes", help="compare accuracy and latency in ONNX Runtime and OpenVINO")
    runtimes.add_argument("models", type=Path, nargs="+", help="ONNX files")
    runtimes.add_argument("--split", required=True, metavar="SPLIT", help="as for evaluate, for example PublicTest")
    add_labelled_data(runtimes, required=False)
    runtimes.set_defaults(run_command=_runtimes)


def _runtimes(arguments: argparse.Namespace) -> None:
    from training.evaluation.runtimes import as_table, check_openvino, compare_runtimes, open_networks

    check_openvino()
    for model in arguments.models:
        load_manifest(model)  # reports a bad model before the images are read
    images, labels = _images(arguments)
    print(f"{len(labels)} images of the split {arguments.split}\n", flush=True)
    print(as_table({model.name: compare_runtimes(open_networks(model), images, labels) for model in arguments.models}))


def _images(arguments: argparse.Namespace) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    from training.evaluation.labelled import select

    arguments.data = arguments.data or [str(DEFAULT_DATA)]
    name = parse_split(arguments.split)
    own = len(arguments.data) > 1 or arguments.drop or name == ALL
    dataset = None if own else complete_fer2013(Path(arguments.data[0]))
    if dataset is not None:
        split = dataset[OFFICIAL_SPLITS[SplitName(name)]]
        return split.images, split.labels
    chosen = select(load_labelled_data(arguments), name)
    return chosen.images, chosen.labels
