"""Entry point of `python -m app.cli`: parse the command line, process the files, report failures."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO, get_args

from tqdm import tqdm

from app.cli.draw import draw
from app.cli.files import find_images
from app.cli.output import (
    FILENAME_ERRORS,
    ResumeError,
    csv_header,
    csv_rows,
    json_line,
    open_output,
    resume_csv,
    resume_json,
)
from app.cli.pool import predict_files
from app.config import DetectorName, Settings, SettingsError, load_settings
from app.contract.manifest import ManifestError, load_manifest
from app.contract.prediction_sets import COVERAGES
from app.domain import PredictOptions
from app.inference.session import DeviceError, SelfTestError
from app.main import load_detector
from app.vision.yunet import DetectorModelError

_SOME_FAILED = 1
_NOT_STARTED = 2
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_BROKEN_PIPE = 141  # 128 + SIGPIPE


class _UsageError(Exception):
    """A command line that cannot be run. The message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program; None for `sys.argv`.

    Returns:
        The exit status: 0, 1 if some files failed, 2 if the command could not be run.
    """
    args = _parser().parse_args(arguments)
    try:
        return _run(args)
    except (
        _UsageError,
        SettingsError,
        ManifestError,
        DetectorModelError,
        DeviceError,
        SelfTestError,
        ResumeError,
    ) as error:
        message = str(error)
    except BrokenPipeError:  # the reader of standard output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails too
        return _BROKEN_PIPE
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
    except BrokenProcessPool:
        message = "a worker process ended unexpectedly; see its messages above, or use fewer --jobs to save memory"
    except KeyboardInterrupt:
        print("fer: interrupted; with --output, repeat the command with --resume to continue", file=sys.stderr)
        return _INTERRUPTED
    print(f"fer: {message}", file=sys.stderr)
    return _NOT_STARTED


def _run(args: argparse.Namespace) -> int:
    if args.resume and args.output is None:
        raise _UsageError("expected --output FILE with --resume. Received: --resume only")
    settings = load_settings(os.environ, {} if args.detector is None else {"detector": args.detector})
    load_manifest(settings.model)  # reports a bad model before the first image
    load_detector(settings)
    done = _completed(args)
    paths = [path for path in find_images(args.paths) if path not in done]
    if not paths and not done:
        raise _UsageError(f"expected at least one image file. Received: {', '.join(map(str, args.paths))}")
    return _predict(args, settings, paths)


def _predict(args: argparse.Namespace, settings: Settings, paths: list[Path]) -> int:
    render = csv_rows if args.csv else json_line
    failures = 0
    with ExitStack() as stack:
        stream = _open_stream(args, stack)
        options = PredictOptions(
            detect=not args.no_detect,
            max_faces=args.max_faces,
            min_confidence=args.min_confidence,
            coverage=args.coverage,
            min_detection_confidence=args.min_detection_confidence,
        )
        outcomes = predict_files(paths, settings, options, args.jobs)
        # disable=None hides the bar if standard error is not a terminal.
        for outcome in tqdm(outcomes, total=len(paths), unit="image", disable=None, file=sys.stderr):
            if outcome.result is None:
                failures += 1
                tqdm.write(f"{outcome.path}: {outcome.failure}", file=sys.stderr)
                continue
            if args.draw is not None:
                draw(outcome.path, outcome.result, _drawing_path(outcome.path, args.draw))
            stream.write(render(outcome.path, outcome.result))  # last, because --resume skips what is written
            stream.flush()
    if failures:
        print(f"fer: {failures} of {len(paths)} images failed", file=sys.stderr)
    return _SOME_FAILED if failures else 0


def _open_stream(args: argparse.Namespace, stack: ExitStack) -> TextIO:
    """Return the stream for results, with the CSV header if it is a new CSV output."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=FILENAME_ERRORS)
    if args.output is not None:
        stream = stack.enter_context(open_output(args.output, append=args.resume))
    if args.csv and (args.output is None or stream.tell() == 0):
        stream.write(csv_header())
    return stream


def _completed(args: argparse.Namespace) -> set[Path]:
    if not args.resume:
        return set()
    return resume_csv(args.output) if args.csv else resume_json(args.output)


def _drawing_path(path: Path, folder: Path) -> Path:
    """Return the file for the drawing of an image: the path of the image below the folder, so that names are unique."""
    inside = path.resolve().relative_to(path.resolve().anchor) if path.is_absolute() or ".." in path.parts else path
    return folder / inside.parent / (inside.name + ".jpg")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.cli",
        description="Classify the faces of image files. FER_MODEL, FER_DEVICE and the other FER_* settings apply.",
    )
    predict = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "predict", help="detect and classify the faces of image files"
    )
    predict.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image files, or folders with image files")
    output_format = predict.add_mutually_exclusive_group()
    output_format.add_argument("--json", action="store_true", help="write one JSON object per image and line (default)")
    output_format.add_argument("--csv", action="store_true", help="write one row per face")
    predict.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of standard output")
    predict.add_argument("--resume", action="store_true", help="append to --output and skip the images that it has")
    predict.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="write a copy of every image with its faces marked"
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
    predict.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="number of processes (default: 1); each loads the model"
    )
    return parser


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


def _probability(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1. Received: {text}")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1. Received: {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
