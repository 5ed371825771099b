"""One classified frame, and the tracks of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.domain import FaceEmotion
from app.vision.tracking import KEEP_S, FaceTracker, TrackedFace

SCORE_DIGITS = 6  # as in the output, so that a resumed run continues with the same values
_KEEP_INTERVALS = 2.5  # a track lasts for at least two missed samples


@dataclass(frozen=True, slots=True)
class Sample:
    """The faces of one classified frame.

    Attributes:
        frame: Number of the frame in the file, from 1.
        time_s: Time of the frame in seconds.
        faces: Faces with the scores of this frame.
    """

    frame: int
    time_s: float
    faces: tuple[FaceEmotion, ...]

    @classmethod
    def of(cls, frame: int, time_s: float, faces: Sequence[FaceEmotion]) -> Sample:
        """Return a sample whose scores are rounded as in the output."""
        rounded = (
            replace(face, scores={label: round(score, SCORE_DIGITS) for label, score in face.scores.items()})
            for face in faces
        )
        return cls(frame, time_s, tuple(rounded))


class Tracks:
    """Tracks of one video.

    Args:
        fps: Samples per second.
        smoothing: See `FaceTracker`.

    Attributes:
        last: The last sample; None before the first.
    """

    def __init__(self, fps: float, smoothing: float) -> None:
        self._tracker = FaceTracker(smoothing, keep_s=max(KEEP_S, _KEEP_INTERVALS / fps))
        self.last: Sample | None = None

    def add(self, sample: Sample) -> list[TrackedFace]:
        """Return the faces of the next sample with their tracks and smoothed scores, in the given order."""
        self.last = sample
        return self._tracker.update(sample.faces, sample.time_s)
