"""Tracks and smoothed scores over time."""

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


def numbers(followed) -> list[int]:
    return [tracked.track for tracked in followed]


def test_follow_moving_faces_keep_their_tracks_in_whatever_order_they_come():
    tracker = FaceTracker(0)
    assert numbers(tracker.follow([face(LEFT), face(RIGHT)], 0)) == [1, 2]
    assert numbers(tracker.follow([face(moved(RIGHT, 20)), face(moved(LEFT, 20))], 0.04)) == [2, 1]
    assert numbers(tracker.follow([face(moved(RIGHT, 40)), face(moved(LEFT, 40))], 0.08)) == [2, 1]


def test_follow_face_elsewhere_is_a_new_one():
    tracker = FaceTracker(0)
    tracker.follow([face(LEFT)], 0)
    assert numbers(tracker.follow([face(moved(LEFT, 60))], 0.04)) == [2]  # overlap 0.25


def test_follow_two_faces_near_one_track_the_nearer_continues_it():
    tracker = FaceTracker(0)
    tracker.follow([face(LEFT)], 0)
    assert numbers(tracker.follow([face(moved(LEFT, 40)), face(moved(LEFT, 5))], 0.04)) == [2, 1]


def test_follow_face_that_was_missed_for_a_moment_keeps_its_track():
    tracker = FaceTracker(0)
    tracker.follow([face(LEFT)], 0)
    tracker.follow([], KEEP_S / 2)
    assert numbers(tracker.follow([face(LEFT)], KEEP_S)) == [1]


def test_follow_face_that_was_away_for_long_is_a_new_one():
    tracker = FaceTracker(0)
    tracker.follow([face(LEFT)], 0)
    tracker.follow([], KEEP_S + 0.1)
    assert numbers(tracker.follow([face(LEFT)], KEEP_S + 0.2)) == [2]


def test_follow_face_of_a_slow_stream_keeps_its_track_from_frame_to_frame():
    tracker = FaceTracker(0)
    assert [numbers(tracker.follow([face(LEFT)], at_s)) for at_s in (0, 5, 10)] == [[1], [1], [1]]


def test_follow_without_smoothing_gives_the_scores_of_the_frame():
    tracker = FaceTracker(0)
    tracker.follow([face(LEFT, 1.0)], 0)
    for at_s in (0.04, 0.04):  # the second at the same time: nothing may be left of the first
        (tracked,) = tracker.follow([face(LEFT, 0.2)], at_s)
        assert tracked.face == face(LEFT, 0.2)


def test_follow_smoothed_scores_keep_the_named_share_after_a_tenth_of_a_second():
    tracker = FaceTracker(0.8)
    tracker.follow([face(LEFT, 1.0)], 0)
    (tracked,) = tracker.follow([face(LEFT, 0.0)], 0.1)
    assert tracked.face.scores["happy"] == pytest.approx(0.8)
    assert sum(tracked.face.scores.values()) == pytest.approx(1)
    assert (tracked.face.emotion, tracked.face.confidence) == ("happy", pytest.approx(0.8))


def test_follow_smoothing_means_the_same_at_every_frame_rate():
    results = []
    for frames in (5, 50):
        tracker = FaceTracker(0.8)
        tracker.follow([face(LEFT, 1.0)], 0)
        for index in range(1, frames + 1):
            (tracked,) = tracker.follow([face(LEFT, 0.0)], index / frames * 0.5)
        results.append(tracked.face.scores["happy"])
    assert results == pytest.approx([0.8**5, 0.8**5])


def test_follow_smoothed_emotion_turns_when_the_new_one_leads():
    tracker = FaceTracker(0.5)
    tracker.follow([face(LEFT, 1.0)], 0)
    emotions = [tracker.follow([face(LEFT, 0.0)], at_s)[0].face.emotion for at_s in (0.05, 0.2)]
    assert emotions == ["happy", "sad"]


def test_follow_each_face_is_smoothed_by_its_own_past():
    tracker = FaceTracker(1)
    tracker.follow([face(LEFT, 0.9), face(RIGHT, 0.1)], 0)
    followed = tracker.follow([face(RIGHT, 0.5), face(LEFT, 0.5)], 0.1)
    assert [tracked.face.scores["happy"] for tracked in followed] == [0.1, 0.9]
