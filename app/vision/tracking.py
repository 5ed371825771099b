"""Faces over time: which face of a frame is which face of the frames before, and scores smoothed along each.

Pure: no clock, no pixels, no I/O. One tracker serves one stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain import FaceBox, FaceEmotion

# Overlap (IoU) at which a box continues a track. At 25 frames a second a head moves little; after dropped frames more.
MIN_OVERLAP = 0.3
# The cascade misses a face for a moment when it blinks or turns: through frames without it a track waits this long.
KEEP_S = 1.0
# `smoothing` is the share of the old scores that is left after this time, so that it means the same at any frame rate.
SMOOTHING_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face of one frame, with scores smoothed over time, and the number that it keeps while it is followed."""

    track: int
    face: FaceEmotion


@dataclass(slots=True)
class _Track:
    number: int
    box: FaceBox
    scores: Mapping[str, float]
    seen_s: float


class FaceTracker:
    """Follows the faces of one stream by the overlap of their boxes.

    Args:
        smoothing: 0 to 1: the share of the old scores that is left after a tenth of a second. 0 leaves every frame as
            it is; 1 keeps a face's first scores.
    """

    def __init__(self, smoothing: float) -> None:
        self._smoothing = smoothing
        self._tracks: list[_Track] = []
        self._last_number = 0

    def update(self, faces: Sequence[FaceEmotion], at_s: float) -> list[TrackedFace]:
        """Continues the tracks with the faces of the next frame.

        Args:
            faces: Of one frame.
            at_s: When the frame arrived, on any clock; never less than in the call before.

        Returns:
            The faces in the order given, with their tracks and smoothed scores.
        """
        matches = self._match(faces)
        followed = []
        for index, face in enumerate(faces):
            track = matches.get(index)
            if track is None:
                self._last_number += 1
                track = _Track(self._last_number, face.box, face.scores, at_s)
                self._tracks.append(track)
            else:
                track.scores = self._smooth(track, face, at_s)
                track.box, track.seen_s = face.box, at_s
            followed.append(TrackedFace(track.number, _with_scores(face, track.scores)))
        self._tracks = [track for track in self._tracks if at_s - track.seen_s <= KEEP_S]
        return followed

    def _match(self, faces: Sequence[FaceEmotion]) -> dict[int, _Track]:
        """The track of each face that continues one, by index: the largest overlap is matched first."""
        candidates = sorted(
            (
                (share, index, track)
                for index, face in enumerate(faces)
                for track in self._tracks
                if (share := face.box.overlap(track.box)) >= MIN_OVERLAP
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
        kept = self._smoothing ** ((at_s - track.seen_s) / SMOOTHING_STEP_S)
        return {label: kept * track.scores[label] + (1 - kept) * score for label, score in face.scores.items()}


def _with_scores(face: FaceEmotion, scores: Mapping[str, float]) -> FaceEmotion:
    emotion = max(scores, key=scores.__getitem__)
    return replace(face, scores=scores, emotion=emotion, confidence=scores[emotion])
