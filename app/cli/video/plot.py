"""Picture of the emotions over time: one panel per track, the smoothed scores stacked to 1.

Matplotlib is an optional package: `requirements/video.txt`.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.cli.video.timeline import Timeline, TrackScores
from app.contract.labels import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_PANELS = 40
_WIDTH_IN, _PANEL_HEIGHT_IN, _MARGIN_IN = 11.0, 1.3, 1.0
_DPI = 110
_TIME_STEPS = (1, 2, 3, 6, 10)  # between two ticks, times a power of 10 seconds
_GAP_INTERVALS = 3  # of the samples of a track; a longer pause is a gap
# Source: Paul Tol's bright scheme, which colour-blind readers can tell apart; neutral is grey.
_COLOURS = ("#ee6677", "#aa3377", "#4477aa", "#ccbb44", "#66ccee", "#228833", "#cccccc")


def plot_timelines(timelines: Mapping[Path, Timeline], destination: Path) -> None:
    """Write the picture.

    Args:
        timelines: The videos and their tracks. The picture shows the 40 longest tracks.
        destination: The file to write; its suffix selects the format, for example `.png`, `.svg` or `.pdf`.
    """
    from matplotlib.figure import Figure

    panels, left_out = _panels(timelines)
    height_in = _PANEL_HEIGHT_IN * max(1, len(panels)) + _MARGIN_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, layout="constrained")
    axes = figure.subplots(max(1, len(panels)), squeeze=False)[:, 0]
    for axis, (path, track) in zip(axes, panels, strict=False):
        _plot_track(axis, track, timelines[path].end_s)
        axis.set_title(f"{_printable(path)}, track {track.number}", fontsize=9, loc="left")
    axes[-1].set_xlabel("time (minutes:seconds)" if panels else "no face was found")
    if panels:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(LABELS), frameon=False, fontsize=9)
    if left_out:
        figure.supxlabel(f"{left_out} shorter tracks are not shown", fontsize=8)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # of file names, such as Japanese ones
        figure.savefig(destination)


def has_plot_library() -> bool:
    """Return whether Matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot_formats() -> frozenset[str]:
    """Return the suffixes of the files that `plot_timelines` can write."""
    from matplotlib.figure import Figure

    return frozenset(f".{name}" for name in Figure().canvas.get_supported_filetypes())


def _panels(timelines: Mapping[Path, Timeline]) -> tuple[list[tuple[Path, TrackScores]], int]:
    """Return the longest tracks in the order of their videos, and the number of other tracks."""
    tracks = [(path, track) for path, timeline in timelines.items() for track in timeline.tracks()]
    longest = sorted(tracks, key=lambda each: -len(each[1].times_s))[:_MAX_PANELS]
    kept = {(path, track.number) for path, track in longest if len(track.times_s) > 1}
    panels = [(path, track) for path, track in tracks if (path, track.number) in kept]
    return panels, len(tracks) - len(panels)


def _plot_track(axis: Axes, track: TrackScores, end_s: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    # A row of NaN in each gap interrupts the areas.
    steps_s = np.diff(track.times_s)
    gaps = np.flatnonzero(steps_s > _GAP_INTERVALS * np.median(steps_s)) + 1
    times = np.insert(track.times_s, gaps, track.times_s[gaps - 1])
    scores = np.insert(track.scores, gaps, np.nan, axis=0)
    axis.stackplot(times, scores.T, labels=LABELS, colors=_COLOURS, linewidth=0)
    axis.set(xlim=(0, max(end_s, 0.1)), ylim=(0, 1), yticks=(0, 0.5, 1))
    axis.tick_params(labelsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(steps=_TIME_STEPS))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds // 60:.0f}:{seconds % 60:04.1f}"))


def _printable(path: Path) -> str:
    return str(path).encode(errors="replace").decode().replace("$", r"\$")
