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
from typing import TextIO

from tqdm import tqdm

from app.cli.arguments import parser
from app.cli.draw import draw
from app.cli.files import drawing_path, find_files, is_video
from app.cli.output import CSV_COLUMNS, FILENAME_ERRORS, VIDEO_COLUMNS, csv_header, csv_rows, json_line, open_output
from app.cli.pool import WorkerPool
from app.cli.resume import ResumeError, resume_csv, resume_json
from app.cli.video.plot import has_plot_library, plot_formats
from app.cli.video.reading import has_video_library
from app.cli.video.run import VideoOptions, VideoRun
from app.config import Settings, SettingsError, load_settings
from app.contract.manifest import load_manifest
from app.contract.sidecar import ManifestError
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
    args = parser().parse_args(arguments)
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
        # Python names no file for a failed write.
        message = f"{error.filename or 'cannot write the results'}: {error.strerror or error}"
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
    files = list(find_files(args.paths))
    if not files:
        raise _UsageError(f"expected at least one image or video. Received: {', '.join(map(str, args.paths))}")
    images, videos = [path for path in files if not is_video(path)], [path for path in files if is_video(path)]
    _check_video_packages(args, videos)
    columns = VIDEO_COLUMNS if videos else CSV_COLUMNS
    options = _predict_options(args)
    run = VideoRun(VideoOptions(settings, options, args.jobs, args.fps, args.smoothing, args.csv, args.draw, args.plot))
    done = _completed(args, columns, run)
    images = [path for path in images if path not in done]
    with ExitStack() as stack:
        stream = _open_stream(args, columns, stack)
        failed_images = _predict_images(args, settings, images, columns, stream) if images else 0
        failed_videos = run.predict(videos, stream) if videos else 0
    for failed, count, kind in ((failed_images, len(images), "images"), (failed_videos, len(videos), "videos")):
        if failed:
            print(f"fer: {failed} of {count} {kind} failed", file=sys.stderr)
    return _SOME_FAILED if failed_images or failed_videos else 0


def _predict_images(
    args: argparse.Namespace, settings: Settings, paths: list[Path], columns: Sequence[str], stream: TextIO
) -> int:
    """Write the results of images. Return the number of images that failed."""
    failures = 0
    with WorkerPool(settings, _predict_options(args), min(args.jobs, len(paths))) as pool:
        outcomes = pool.predict_files(paths)
        # disable=None hides the bar if standard error is not a terminal.
        for outcome in tqdm(outcomes, total=len(paths), unit="image", disable=None, file=sys.stderr):
            if outcome.result is None:
                failures += 1
                tqdm.write(f"{outcome.path}: {outcome.failure}", file=sys.stderr)
                continue
            if args.draw is not None:
                draw(outcome.path, outcome.result, drawing_path(outcome.path, args.draw, ".jpg"))
            is_csv, result = args.csv, outcome.result
            # last, because --resume skips what is written
            stream.write(csv_rows(outcome.path, result, columns) if is_csv else json_line(outcome.path, result))
            stream.flush()
    return failures


def _predict_options(args: argparse.Namespace) -> PredictOptions:
    return PredictOptions(
        detect=not args.no_detect,
        max_faces=args.max_faces,
        min_confidence=args.min_confidence,
        coverage=args.coverage,
        min_detection_confidence=args.min_detection_confidence,
    )


def _check_video_packages(args: argparse.Namespace, videos: Sequence[Path]) -> None:
    """Refuse a command that needs an optional package, before the first file.

    Raises:
        _UsageError: The package is missing, or the plot cannot be made.
    """
    install = "python -m pip install -r requirements/video.txt"
    if videos and not has_video_library():
        raise _UsageError(f"videos need the package av, as for {videos[0]}. Install it with: {install}")
    if args.plot is None:
        return
    if not videos:
        raise _UsageError("expected at least one video with --plot. Received: images only")
    if not has_plot_library():
        raise _UsageError(f"--plot needs the package matplotlib. Install it with: {install}")
    if args.plot.suffix.lower() not in plot_formats():
        raise _UsageError(f"expected a file name such as timeline.png with --plot. Received: {args.plot}")


def _open_stream(args: argparse.Namespace, columns: Sequence[str], stack: ExitStack) -> TextIO:
    """Return the stream for results, with the CSV header if it is a new CSV output."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=FILENAME_ERRORS)
    if args.output is not None:
        stream = stack.enter_context(open_output(args.output, append=args.resume))
    is_continued = args.resume and stream.tell() > 0
    if args.csv and not is_continued:
        stream.write(csv_header(columns))
    return stream


def _completed(args: argparse.Namespace, columns: Sequence[str], run: VideoRun) -> set[Path]:
    """Return the images in the output to resume, and continue its videos."""
    images: set[Path] = set()
    if args.resume:
        for path, sample in resume_csv(args.output, columns) if args.csv else resume_json(args.output):
            if sample is None:
                images.add(path)
            else:
                run.restore(path, sample)
    return images


if __name__ == "__main__":
    sys.exit(main())
