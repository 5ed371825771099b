"""`WS /ws`: tracked faces, smoothed scores and searches for new faces."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import encoded, picture
from tests.support.waiting import wait_until


def test_stream_smoothing_mixes_the_scores_of_a_tracked_face(client):
    one, other = encoded(picture(1, seed=1)), encoded(picture(1, seed=2))
    scores = [client.post("/predict", content=data).json()["faces"][0]["scores"] for data in (one, other)]
    assert scores[0] != scores[1]
    with client.websocket_connect("/ws?smoothing=1") as stream:
        answers = []
        for data in (one, other):
            stream.send_bytes(data)
            answers.append(stream.receive_json())
    assert [answer["faces"][0]["track"] for answer in answers] == [1, 1]
    assert [answer["faces"][0]["scores"] for answer in answers] == [scores[0], scores[0]]  # smoothing=1 keeps the first
    assert answers[1]["scores"] == scores[0]


class TrackingDetector(FakeDetector):
    """Detector whose `track` returns known faces only.

    Attributes:
        searches: Number of calls of `detect`.
    """

    def __init__(self) -> None:
        self.searches = 0

    def detect(self, grey):
        self.searches += 1
        return super().detect(grey)

    def track(self, grey, known):
        return [face for face in super().detect(grey) if face.box in known]


@pytest.mark.parametrize(("every_s", "found"), [(3600, 2), (0.02, 4)])
def test_stream_tracks_known_faces_and_searches_for_new_faces_at_intervals(monkeypatch, every_s, found):
    monkeypatch.setattr("app.api.stream.tracking.SEARCH_EVERY_S", every_s)
    detector = TrackingDetector()
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), detector)
    with TestClient(app) as client, client.websocket_connect("/ws") as stream:

        def send_faces(count: int) -> int:
            """Send a frame with a number of faces; return the number of faces in the response."""
            stream.send_bytes(encoded(picture(count)))
            return len(stream.receive_json()["faces"])

        assert send_faces(2) == 2  # detection searches the whole first frame
        assert detector.searches == 1
        if found == 2:
            assert [send_faces(4) for _ in range(5)] == [2] * 5
            assert detector.searches == 1
        else:
            wait_until(lambda: send_faces(4) == 4)
            assert detector.searches > 1


def test_parallel_streams_track_separately(client):
    streams = [client.websocket_connect("/ws?smoothing=1") for _ in range(3)]
    with streams[0] as one, streams[1] as two, streams[2] as three:
        for stream, faces in ((one, 1), (two, 2), (three, 3)):
            stream.send_bytes(encoded(picture(faces, seed=faces)))
        counts = [len(stream.receive_json()["faces"]) for stream in (one, two, three)]
    assert counts == [1, 2, 3]
