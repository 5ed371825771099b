"""Face tracks and smoothed scores."""

from __future__ import annotations

import pytest

from app.contract.labels import LABELS
from app.domain import FaceBox, FaceEmotion
from app.vision.tracking import KEEP_S, FaceTracker

LEFT, RIGHT = FaceBox(0, 0, 100, 100), FaceBox(300, 0, 100, 100)


def face(box: FaceBox, happy: float = 0.5) -> FaceEmotion:
    scores = dict.fromkeys(LABELS, 0.0) | {"happy": happy, "sad": 1 - happy}
    emotion = max(scores, key=scores.get)
    return FaceEmotion(box, 1.0, scores, emotion, scores[emotion])


def moved(box: FaceBox, x: int) -> FaceBox:
    return FaceBox(box.x + x, box.y, box.width, box.height)


def numbers(tracked_faces) -> list[int]:
    return [tracked.track for tracked in tracked_faces]


def test_update_keeps_the_tracks_of_moving_faces_in_any_order():
    tracker = FaceTracker(0)
    assert numbers(tracker.update([face(LEFT), face(RIGHT)], 0)) == [1, 2]
    assert numbers(tracker.update([face(moved(RIGHT, 20)), face(moved(LEFT, 20))], 0.04)) == [2, 1]
    assert numbers(tracker.update([face(moved(RIGHT, 40)), face(moved(LEFT, 40))], 0.08)) == [2, 1]


def test_update_starts_a_track_for_a_face_elsewhere():
    tracker = FaceTracker(0)
    tracker.update([face(LEFT)], 0)
    assert numbers(tracker.update([face(moved(LEFT, 60))], 0.04)) == [2]  # overlap 0.25


def test_update_continues_a_track_with_the_face_of_the_largest_overlap():
    tracker = FaceTracker(0)
    tracker.update([face(LEFT)], 0)
    assert numbers(tracker.update([face(moved(LEFT, 40)), face(moved(LEFT, 5))], 0.04)) == [2, 1]


def test_update_continues_a_track_after_a_short_gap():
    tracker = FaceTracker(0)
    tracker.update([face(LEFT)], 0)
    tracker.update([], KEEP_S / 2)
    assert numbers(tracker.update([face(LEFT)], KEEP_S)) == [1]


def test_update_starts_a_track_after_a_long_gap():
    tracker = FaceTracker(0)
    tracker.update([face(LEFT)], 0)
    tracker.update([], KEEP_S + 0.1)
    assert numbers(tracker.update([face(LEFT)], KEEP_S + 0.2)) == [2]


def test_update_continues_tracks_of_a_stream_with_a_low_frame_rate():
    tracker = FaceTracker(0)
    assert [numbers(tracker.update([face(LEFT)], at_s)) for at_s in (0, 5, 10)] == [[1], [1], [1]]


def test_update_without_smoothing_returns_the_scores_of_the_frame():
    tracker = FaceTracker(0)
    tracker.update([face(LEFT, 1.0)], 0)
    for at_s in (0.04, 0.04):  # even at the same time, nothing of the old scores may be left
        (tracked,) = tracker.update([face(LEFT, 0.2)], at_s)
        assert tracked.face == face(LEFT, 0.2)


def test_update_keeps_the_smoothing_share_of_the_old_scores_after_a_tenth_of_a_second():
    tracker = FaceTracker(0.8)
    tracker.update([face(LEFT, 1.0)], 0)
    (tracked,) = tracker.update([face(LEFT, 0.0)], 0.1)
    assert tracked.face.scores["happy"] == pytest.approx(0.8)
    assert sum(tracked.face.scores.values()) == pytest.approx(1)
    assert (tracked.face.emotion, tracked.face.confidence) == ("happy", pytest.approx(0.8))


def test_update_smooths_independently_of_the_frame_rate():
    results = []
    for frames in (5, 50):
        tracker = FaceTracker(0.8)
        tracker.update([face(LEFT, 1.0)], 0)
        for index in range(1, frames + 1):
            (tracked,) = tracker.update([face(LEFT, 0.0)], index / frames * 0.5)
        results.append(tracked.face.scores["happy"])
    assert results == pytest.approx([0.8**5, 0.8**5])


def test_update_changes_the_emotion_when_the_smoothed_scores_change_order():
    tracker = FaceTracker(0.5)
    tracker.update([face(LEFT, 1.0)], 0)
    emotions = [tracker.update([face(LEFT, 0.0)], at_s)[0].face.emotion for at_s in (0.05, 0.2)]
    assert emotions == ["happy", "sad"]


def test_update_smooths_each_face_with_its_own_track():
    tracker = FaceTracker(1)
    tracker.update([face(LEFT, 0.9), face(RIGHT, 0.1)], 0)
    tracked_faces = tracker.update([face(RIGHT, 0.5), face(LEFT, 0.5)], 0.1)
    assert [tracked.face.scores["happy"] for tracked in tracked_faces] == [0.1, 0.9]


def test_update_continues_the_track_of_a_moving_face_after_a_gap():
    tracker = FaceTracker(0)
    for step in range(6):
        tracker.update([face(moved(LEFT, 20 * step))], 0.2 * step)
    tracker.update([], 1.2)
    assert numbers(tracker.update([face(moved(LEFT, 20 * 9))], 1.8)) == [1]  # overlap with the last box: 0.11
    assert numbers(tracker.update([face(moved(LEFT, 20 * 9 + 90))], 2.0)) == [2]  # much faster than before


def test_keep_s_is_the_time_that_a_track_lasts_without_a_face():
    tracker = FaceTracker(0, keep_s=5)
    tracker.update([face(LEFT)], 0)
    assert numbers(tracker.update([face(LEFT)], 4.9)) == [1]
    assert numbers(FaceTracker(0).update([face(LEFT)], 0)) == [1]
