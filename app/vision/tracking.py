"""Tracking of faces through the frames of a stream: track numbers and scores smoothed over time.

The module has no clock and reads no pixels: the caller passes times and faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain import FaceBox, FaceEmotion

# Smallest overlap (IoU) of a face with its track's last box. A head moves little between two frames at 25 frames per
# second, and more after dropped frames.
MIN_OVERLAP = 0.3
# Time that a track lasts without a face: the detector misses faces for a moment when they blink or turn.
KEEP_S = 1.0
# Time after which `smoothing` is the share of the old scores. A fixed time makes it independent of the frame rate.
SMOOTHING_STEP_S = 0.1
# Time after which a new velocity has half of the weight: boxes jitter by some pixels from frame to frame.
VELOCITY_HALF_LIFE_S = 0.2


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """Face of one frame with its track.

    Attributes:
        track: Number of the track, unique within a stream, from 1.
        face: The face with smoothed scores.
    """

    track: int
    face: FaceEmotion


@dataclass(slots=True)
class _Track:
    number: int
    box: FaceBox
    scores: Mapping[str, float]
    updated_s: float
    velocity: tuple[float, float] = (0.0, 0.0)  # of the box, in pixels per second

    def overlap(self, box: FaceBox, at_s: float) -> float:
        """Return the overlap of a box with the last box, or with where its movement would have taken it if higher."""
        gone_s = at_s - self.updated_s
        x, y = (
            position + speed * gone_s for position, speed in zip((self.box.x, self.box.y), self.velocity, strict=True)
        )
        return max(box.overlap(self.box), box.overlap(replace(self.box, x=round(x), y=round(y))))

    def move(self, box: FaceBox, at_s: float) -> None:
        """Continue with the box of the next frame."""
        if (passed_s := at_s - self.updated_s) > 0:
            kept = 0.5 ** (passed_s / VELOCITY_HALF_LIFE_S)
            speeds = ((new - old) / passed_s for new, old in zip(_centre(box), _centre(self.box), strict=True))
            vx, vy = (kept * old + (1 - kept) * new for old, new in zip(self.velocity, speeds, strict=True))
            self.velocity = (vx, vy)
        self.box, self.updated_s = box, at_s


class FaceTracker:
    """Tracks of one stream. Faces of successive frames belong to one track if their boxes overlap.

    After a gap, a track is also where its movement would have taken it.

    Args:
        smoothing: Share of the old scores that is left after a tenth of a second, 0 to 1. 0 returns the scores of each
            frame; 1 keeps a track's first scores.
        keep_s: Time in seconds that a track lasts without a face.
    """

    def __init__(self, smoothing: float, keep_s: float = KEEP_S) -> None:
        self._smoothing = smoothing
        self._keep_s = keep_s
        self._tracks: list[_Track] = []
        self._last_number = 0

    def update(self, faces: Sequence[FaceEmotion], at_s: float) -> list[TrackedFace]:
        """Continue the tracks with the faces of the next frame, and start tracks for new faces.

        Args:
            faces: Faces of one frame.
            at_s: Arrival time of the frame in seconds, from any clock; never less than in the call before.

        Returns:
            The faces in the given order.
        """
        matches = self._match(faces, at_s)
        tracked_faces = []
        for index, face in enumerate(faces):
            track = matches.get(index)
            if track is None:
                self._last_number += 1
                track = _Track(self._last_number, face.box, face.scores, at_s)
                self._tracks.append(track)
            else:
                track.scores = self._smooth(track, face, at_s)
                track.move(face.box, at_s)
            tracked_faces.append(TrackedFace(track.number, _with_scores(face, track.scores)))
        self._tracks = [track for track in self._tracks if at_s - track.updated_s <= self._keep_s]
        return tracked_faces

    def _match(self, faces: Sequence[FaceEmotion], at_s: float) -> dict[int, _Track]:
        """Assign faces to tracks in descending order of overlap. Return the track of each face by index."""
        candidates = sorted(
            (
                (overlap, index, track)
                for index, face in enumerate(faces)
                for track in self._tracks
                if (overlap := track.overlap(face.box, at_s)) >= MIN_OVERLAP
            ),
            key=lambda candidate: (-candidate[0], candidate[1], candidate[2].number),
        )
        matches: dict[int, _Track] = {}
        taken: set[int] = set()
        for _, index, track in candidates:
            if index not in matches and track.number not in taken:
                matches[index] = track
                taken.add(track.number)
        return matches

    def _smooth(self, track: _Track, face: FaceEmotion, at_s: float) -> Mapping[str, float]:
        if self._smoothing == 0:
            return face.scores
        kept = self._smoothing ** ((at_s - track.updated_s) / SMOOTHING_STEP_S)
        return {label: kept * track.scores[label] + (1 - kept) * score for label, score in face.scores.items()}


def _centre(box: FaceBox) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def _with_scores(face: FaceEmotion, scores: Mapping[str, float]) -> FaceEmotion:
    emotion = max(scores, key=scores.__getitem__)
    return replace(face, scores=scores, emotion=emotion, confidence=scores[emotion])
