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


class FaceTracker:
    """Tracks of one stream. Faces of successive frames belong to one track if their boxes overlap.

    Args:
        smoothing: Share of the old scores that is left after a tenth of a second, 0 to 1. 0 returns the scores of each
            frame; 1 keeps a track's first scores.
    """

    def __init__(self, smoothing: float) -> None:
        self._smoothing = smoothing
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
        matches = self._match(faces)
        tracked_faces = []
        for index, face in enumerate(faces):
            track = matches.get(index)
            if track is None:
                self._last_number += 1
                track = _Track(self._last_number, face.box, face.scores, at_s)
                self._tracks.append(track)
            else:
                track.scores = self._smooth(track, face, at_s)
                track.box, track.updated_s = face.box, at_s
            tracked_faces.append(TrackedFace(track.number, _with_scores(face, track.scores)))
        self._tracks = [track for track in self._tracks if at_s - track.updated_s <= KEEP_S]
        return tracked_faces

    def _match(self, faces: Sequence[FaceEmotion]) -> dict[int, _Track]:
        """Assign faces to tracks in descending order of overlap. Return the track of each face by index."""
        candidates = sorted(
            (
                (overlap, index, track)
                for index, face in enumerate(faces)
                for track in self._tracks
                if (overlap := face.box.overlap(track.box)) >= MIN_OVERLAP
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


def _with_scores(face: FaceEmotion, scores: Mapping[str, float]) -> FaceEmotion:
    emotion = max(scores, key=scores.__getitem__)
    return replace(face, scores=scores, emotion=emotion, confidence=scores[emotion])
