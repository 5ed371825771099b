"""All videos of one command: classify, track, write rows, draw, plot, and continue an interrupted run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import cv2
from tqdm import tqdm

from app.cli.files import drawing_path
from app.cli.pool import WorkerPool
from app.cli.video.drawing import SUFFIX, draw_video
from app.cli.video.plot import plot_timelines
from app.cli.video.reading import Video, VideoError, duration_s, open_video
from app.cli.video.rows import sample_csv, sample_json
from app.cli.video.sample import Sample, Tracks
from app.cli.video.sampling import Sampler
from app.cli.video.timeline import Timeline
from app.config import Settings
from app.domain import Doubt, ImageResult, PredictOptions
from app.vision.decode.reduction import for_detection
from app.vision.tracking import TrackedFace

_BAR = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of video, {elapsed} passed, {remaining} left"


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """Options of a command for its videos.

    Attributes:
        settings: The settings of the service.
        predict: Options for each frame.
        jobs: Number of processes.
        fps: Frames to classify per second of video.
        smoothing: See `FaceTracker`.
        csv: Whether to write CSV rows instead of JSON lines.
        draw: Folder for annotated copies; None for none.
        plot: File for the plot; None for none.
    """

    settings: Settings
    predict: PredictOptions
    jobs: int = 1
    fps: float = 5.0
    smoothing: float = 0.8
    csv: bool = False
    draw: Path | None = None
    plot: Path | None = None


class _Progress:
    """Tracks of one video so far, and their record if a drawing or a plot needs it."""

    def __init__(self, options: VideoOptions) -> None:
        self._tracks = Tracks(options.fps, options.smoothing)
        self.timeline = Timeline(Doubt(options.predict.min_confidence))
        self._records = options.draw is not None or options.plot is not None
        self.last_frame = 0

    def add(self, sample: Sample) -> list[TrackedFace]:
        tracked = self._tracks.add(sample)
        if self._records:
            self.timeline.add(sample.time_s, tracked)
        self.last_frame = sample.frame
        return tracked


class VideoRun:
    """The videos of one command.

    Args:
        options: Options of the command.
    """

    def __init__(self, options: VideoOptions) -> None:
        self._options = options
        self._videos: dict[Path, _Progress] = {}
        self._interrupted: Path | None = None

    def restore(self, path: Path, sample: Sample) -> None:
        """Continue with the next sample of an earlier run's output, before `predict`."""
        self._videos.setdefault(path, _Progress(self._options)).add(sample)
        self._interrupted = path

    def predict(self, paths: Sequence[Path], stream: TextIO) -> int:
        """Classify videos, and draw and plot them.

        Args:
            paths: The videos of the command, with those of an earlier run.
            stream: Receives the rows. Each frame is written at once.

        Returns:
            The number of videos that failed. Standard error has the reasons.
        """
        # The output does not show whether its last video is complete. That video is first, so that it stays the last.
        paths = [path for path in paths if path not in self._videos or path == self._interrupted]
        paths.sort(key=lambda path: path != self._interrupted)
        failures = 0
        durations = [duration_s(path) for path in paths]
        passes = 1 if self._options.draw is None else 2
        total_s = sum(durations) * passes
        # disable=None hides the bar if standard error is not a terminal.
        with (
            WorkerPool(self._options.settings, self._options.predict, self._options.jobs) as pool,
            tqdm(total=total_s or None, bar_format=_BAR if total_s else None, disable=None, file=sys.stderr) as bar,
        ):
            for index, path in enumerate(paths):
                before_s = bar.n
                try:
                    for time_s in self._predict_one(path, pool, stream):
                        bar.update(max(0.0, min(before_s + time_s, total_s) - bar.n))
                except VideoError as error:
                    failures += 1
                    tqdm.write(f"{path}: {error}", file=sys.stderr)
                bar.update(max(0.0, sum(durations[: index + 1]) * passes - bar.n))
        if self._options.plot is not None:
            plot_timelines({path: each.timeline for path, each in self._videos.items()}, self._options.plot)
        return failures

    def _predict_one(self, path: Path, pool: WorkerPool, stream: TextIO) -> Iterator[float]:
        """Classify and draw one video. Yield the seconds of video that have been processed, twice if it is drawn."""
        progress = self._videos.setdefault(path, _Progress(self._options))
        render = sample_csv if self._options.csv else sample_json
        time_s = 0.0
        with open_video(path) as video:
            for sample, result in _classified(path, video, progress, pool, self._options.fps):
                stream.write(render(path, sample, result, progress.add(sample)))
                stream.flush()
                time_s = sample.time_s
                yield time_s
            if video.warning:
                tqdm.write(f"{path}: {video.warning}", file=sys.stderr)
        if self._options.draw is not None:
            for drawn_s in draw_video(path, progress.timeline, drawing_path(path, self._options.draw, SUFFIX)):
                yield time_s + drawn_s


def _classified(
    path: Path, video: Video, progress: _Progress, pool: WorkerPool, fps: float
) -> Iterator[tuple[Sample, ImageResult]]:
    """Yield the samples after those of an earlier run, with their results in pixels of the full frame."""
    frames = _chosen(video, progress.timeline, progress.last_frame, fps)
    for (number, time_s), outcome in pool.predict_frames(path, frames):
        if outcome.result is None:
            raise VideoError(outcome.failure)
        result = _in_full_size(outcome.result, progress.timeline.size)
        yield Sample.of(number, time_s, result.faces), result


def _chosen(video: Video, timeline: Timeline, done: int, fps: float) -> Iterator[tuple[tuple[int, float], bytes]]:
    """Yield the number and the time of the frames to classify, and the frames as image files."""
    sampler = Sampler(fps)
    for frame in video.frames():
        if frame.number == 1:
            timeline.size = frame.size
        if sampler.takes(frame.time_s) and frame.number > done:
            width, height = timeline.size
            reduction = for_detection(width, height)
            grey = frame.grey(max(1, width // reduction), max(1, height // reduction))
            yield (frame.number, frame.time_s), cv2.imencode(".bmp", grey)[1].tobytes()


def _in_full_size(result: ImageResult, size: tuple[int, int]) -> ImageResult:
    scale = size[0] / result.width_px
    faces = result.faces if scale == 1 else tuple(face.scaled(scale) for face in result.faces)
    return replace(result, faces=faces, width_px=size[0], height_px=size[1])
