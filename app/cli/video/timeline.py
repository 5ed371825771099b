"""Compact record of the tracks of one video, for the annotated copy and the plot.

A face of a sample takes 14 numbers: an hour with two faces at 5 samples per second takes 4 MB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.domain import UNCERTAIN, Doubt, FaceBox
from app.vision.tracking import TrackedFace

_NAMES = (*LABELS, UNCERTAIN)
_COLUMNS = 1 + 4 + 1 + 1 + len(LABELS)  # track, box, emotion, confidence, smoothed scores
_TRACK, _BOX, _EMOTION, _CONFIDENCE, _SCORES = 0, slice(1, 5), 5, 6, slice(7, None)
_MAX_MOVE_S = 1.0  # between samples that are further apart, boxes stay where they are


@dataclass(frozen=True, slots=True)
class Mark:
    """A face to draw on a frame."""

    box: FaceBox
    label: str


@dataclass(frozen=True, slots=True)
class TrackScores:
    """The smoothed scores of one track: times in seconds (N,), and scores (N, 7)."""

    number: int
    times_s: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


class Timeline:
    """Tracks of one video.

    Args:
        doubt: How labels show that the scores of a face do not decide.

    Attributes:
        size: Width and height of the upright frames, in pixels of the boxes.
    """

    def __init__(self, doubt: Doubt) -> None:
        self._doubt = doubt
        self.size = (0, 0)
        self._times = array("d")
        self._starts = array("q", [0])  # index of the first face of each sample; the last is that of the next sample
        self._faces = array("d")

    def add(self, time_s: float, tracked: Sequence[TrackedFace]) -> None:
        """Record the faces of the next sample."""
        self._times.append(time_s)
        for each in tracked:
            box, face = each.face.box, each.face
            emotion = _NAMES.index(self._doubt.emotion_of(face))
            self._faces.extend((each.track, box.x, box.y, box.width, box.height, emotion, face.confidence))
            self._faces.extend(face.scores[label] for label in LABELS)
        self._starts.append(self._starts[-1] + len(tracked))

    def marks(self, time_s: float) -> list[Mark]:
        """Return the faces at a time: those of the last sample, whose boxes move towards those of the next one."""
        index = bisect_right(self._times, time_s) - 1
        if index < 0:
            return []
        next_boxes, share = {}, 0.0
        if index + 1 < len(self._times):
            gap_s = self._times[index + 1] - self._times[index]
            if 0 < gap_s <= _MAX_MOVE_S:
                next_boxes = {row[_TRACK]: row[_BOX] for row in self._rows(index + 1)}
                share = (time_s - self._times[index]) / gap_s
        marks = []
        for row in self._rows(index):
            box = row[_BOX] + share * (next_boxes.get(row[_TRACK], row[_BOX]) - row[_BOX])
            label = f"{row[_TRACK]:.0f} {_NAMES[int(row[_EMOTION])]} {row[_CONFIDENCE]:.0%}"
            marks.append(Mark(FaceBox(*np.rint(box).astype(int).tolist()), label))
        return marks

    def tracks(self) -> list[TrackScores]:
        """Return the tracks in the order of their numbers."""
        rows = np.array(self._faces).reshape(-1, _COLUMNS)
        times = np.repeat(np.array(self._times), np.diff(np.array(self._starts)))
        numbers = np.unique(rows[:, _TRACK])
        return [
            TrackScores(int(number), times[rows[:, _TRACK] == number], rows[rows[:, _TRACK] == number, _SCORES])
            for number in numbers
        ]

    @property
    def end_s(self) -> float:
        """Time of the last sample in seconds."""
        return self._times[-1] if self._times else 0.0

    def _rows(self, index: int) -> npt.NDArray[np.float64]:
        start, end = self._starts[index], self._starts[index + 1]
        return np.array(self._faces[start * _COLUMNS : end * _COLUMNS]).reshape(-1, _COLUMNS)
