"""Options of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, get_args

from app.config import DetectorName
from app.contract.prediction_sets import COVERAGES
from app.domain import PredictOptions

Number = TypeVar("Number", int, float)

_MAX_FPS = 1000


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command_line = argparse.ArgumentParser(
        prog="python -m app.cli",
        description="Classify the faces of images and videos. The settings FER_MODEL, FER_DEVICE and others apply.",
    )
    predict = command_line.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "predict",
        help="detect and classify the faces of images and videos",
        epilog="Exit status: 0 if all files were processed, 1 if some failed, 2 if the command could not start.",
    )
    predict.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="images, videos, or folders with them")
    output_format = predict.add_mutually_exclusive_group()
    output_format.add_argument(
        "--json", action="store_true", help="write one JSON object per image or frame and line (default)"
    )
    output_format.add_argument("--csv", action="store_true", help="write one row per face")
    predict.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    predict.add_argument("--resume", action="store_true", help="append to --output and skip what it has")
    predict.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="write a copy of every image and video with its faces marked"
    )
    predict.add_argument(
        "--detector",
        choices=get_args(DetectorName),
        help="face detector (FER_DETECTOR; default: haar); yunet needs its ONNX file in FER_DETECTOR_MODEL",
    )
    predict.add_argument("--no-detect", action="store_true", help="classify each image as one cropped face")
    predict.add_argument(
        "--max-faces",
        type=_positive,
        default=PredictOptions().max_faces,
        metavar="N",
        help="keep the N largest faces of an image (default: %(default)s)",
    )
    _add_confidence_options(predict)
    _add_video_options(predict)
    predict.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="number of processes (default: 1); each loads the model"
    )
    return command_line


def _add_confidence_options(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "--min-detection-confidence",
        type=_probability,
        default=PredictOptions().min_detection_confidence,
        metavar="P",
        help="drop faces with a lower probability, 0 to 1 (default: %(default)s)",
    )
    predict.add_argument(
        "--min-confidence",
        type=_probability,
        default=0.0,
        metavar="P",
        help='the emotion of a face whose top score is below P (0 to 1) is "uncertain"',
    )
    predict.add_argument(
        "--coverage",
        type=float,
        choices=COVERAGES,
        help="add the prediction set: the smallest set of emotions that holds the label with this frequency",
    )


def _add_video_options(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "--fps",
        type=_rate,
        default=5.0,
        metavar="N",
        help="classify N frames per second of video (default: %(default)g)",
    )
    predict.add_argument(
        "--smoothing",
        type=_probability,
        default=0.8,
        metavar="S",
        help="share of the old scores of a track that is left after a tenth of a second (default: %(default)g)",
    )
    predict.add_argument(
        "--plot", type=Path, metavar="FILE", help="write a picture of the emotions in the videos over time"
    )


def _rate(text: str) -> float:
    return _checked(text, float, lambda number: 0 < number <= _MAX_FPS, f"a number above 0, up to {_MAX_FPS}")


def _probability(text: str) -> float:
    return _checked(text, float, lambda number: 0 <= number <= 1, "a number from 0 to 1")


def _positive(text: str) -> int:
    return _checked(text, int, lambda number: number >= 1, "a whole number of at least 1")


def _checked(text: str, convert: Callable[[str], Number], accept: Callable[[Number], bool], expected: str) -> Number:
    """Convert the text of an option. argparse's own message for a `ValueError` names the function, not the values."""
    try:
        number = convert(text)
        if accept(number):
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {expected}. Received: {text}")
