"""`python -m app.cli`: reads the command line, spreads the files over processes, says what failed."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from app.cli.draw import draw
from app.cli.files import find_images
from app.cli.output import (
    NAMES_AS_THEY_ARE,
    ResumeError,
    csv_header,
    csv_rows,
    json_line,
    open_output,
    resume_csv,
    resume_json,
)
from app.cli.pool import predict_files
from app.config import Settings, SettingsError, load_settings
from app.contract.manifest import ManifestError, load_manifest
from app.domain import PredictOptions
from app.inference.session import DeviceError, SelfTestError

_SOME_FAILED = 1
_CANNOT_BEGIN = 2
_INTERRUPTED = 130  # as shells count a Ctrl-C
_READER_LEFT = 141  # as they count SIGPIPE


class _RefusedError(Exception):
    """A command line that cannot be begun. The message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 when some files failed, 2 when the work could not be done."""
    asked = _parser().parse_args(arguments)
    try:
        return _run(asked)
    except (_RefusedError, SettingsError, ManifestError, DeviceError, SelfTestError, ResumeError) as error:
        sentence = str(error)
    except BrokenPipeError:  # who read the results has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own last flush would fail too
        return _READER_LEFT
    except OSError as error:
        sentence = f"{error.filename}: {error.strerror}"
    except BrokenProcessPool:
        sentence = "a worker process ended before its time, for want of memory or of a model: see above"
    except KeyboardInterrupt:
        print("fer: interrupted; --resume continues an --output", file=sys.stderr)
        return _INTERRUPTED
    print(f"fer: {sentence}", file=sys.stderr)
    return _CANNOT_BEGIN


def _run(asked: argparse.Namespace) -> int:
    if asked.resume and asked.output is None:
        raise _RefusedError("--resume needs --output: what is on the screen cannot be continued")
    settings = load_settings(os.environ)
    load_manifest(settings.model)  # a bad model is reported before any image is read
    done = _already_done(asked)
    paths = [path for path in find_images(asked.places) if path not in done]
    if not paths and not done:
        raise _RefusedError("there is no image file in what was named")
    return _predict(asked, settings, paths)


def _predict(asked: argparse.Namespace, settings: Settings, paths: list[Path]) -> int:
    render = csv_rows if asked.csv else json_line
    failures = 0
    with ExitStack() as stack:
        stream = sys.stdout
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NAMES_AS_THEY_ARE)
        if asked.output is not None:
            stream = stack.enter_context(open_output(asked.output, append=asked.resume))
        if asked.csv and (asked.output is None or stream.tell() == 0):
            stream.write(csv_header())
        options = PredictOptions(detect=not asked.no_detect, max_faces=asked.max_faces)
        outcomes = predict_files(paths, settings, options, asked.jobs)
        # None: no bar where standard error is no terminal.
        for outcome in tqdm(outcomes, total=len(paths), unit="image", disable=None, file=sys.stderr):
            if outcome.result is None:
                failures += 1
                tqdm.write(f"{outcome.path}: {outcome.failure}", file=sys.stderr)
                continue
            if asked.draw is not None:
                draw(outcome.path, outcome.result, _drawing_of(outcome.path, asked.draw))
            stream.write(render(outcome.path, outcome.result))  # last: what is written is done
            stream.flush()
    if failures:
        print(f"fer: {failures} of {len(paths)} images failed", file=sys.stderr)
    return _SOME_FAILED if failures else 0


def _already_done(asked: argparse.Namespace) -> set[Path]:
    if not asked.resume:
        return set()
    return resume_csv(asked.output) if asked.csv else resume_json(asked.output)


def _drawing_of(path: Path, folder: Path) -> Path:
    """Where the drawing of a photograph goes: its own path below the folder, so that equal names do not meet."""
    inside = path.resolve().relative_to(path.resolve().anchor) if path.is_absolute() or ".." in path.parts else path
    return folder / inside.parent / (inside.name + ".jpg")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.cli", description="The service's pipeline on files. FER_MODEL and FER_DEVICE hold here too."
    )
    predict = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "predict", help="find and classify the faces of photographs"
    )
    predict.add_argument("places", nargs="+", type=Path, metavar="PATH", help="image files, and folders of them")
    shape = predict.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object a line and image (the default)")
    shape.add_argument("--csv", action="store_true", help="one row a face")
    predict.add_argument("--output", type=Path, metavar="FILE", help="where to write; else to standard output")
    predict.add_argument("--resume", action="store_true", help="continue --output: skip the images that it has")
    predict.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="also write every photograph with its faces framed"
    )
    predict.add_argument("--no-detect", action="store_true", help="every image is already one cropped face")
    predict.add_argument("--max-faces", type=_positive, default=PredictOptions().max_faces, metavar="N")
    predict.add_argument("--jobs", type=_positive, default=1, metavar="N", help="processes; each loads the model")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1. Received: {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
