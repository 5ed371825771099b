"""`WS /ws`: order, dropped frames, errors, smoothing, keys, origins, limits, drain."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from app.api.problems import STATUS
from app.config import Settings
from app.errors import ErrorCode
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import PNG, encoded, picture
from tests.support.responses import assert_problem, metric_value, stable_fields
from tests.support.waiting import wait_until


def assert_closed(stream, code: ErrorCode, close_code: int) -> None:
    """Assert that the stream sends an error, then closes with the same reason."""
    message = stream.receive_json()
    assert message["frame"] is None
    assert (message["error"]["code"], message["error"]["status"]) == (code, STATUS[code])
    with pytest.raises(WebSocketDisconnect) as closed:
        stream.receive_json()
    assert (closed.value.code, closed.value.reason) == (close_code, message["error"]["detail"])


def test_stream_answers_each_frame_like_predict(client):
    with client.websocket_connect("/ws") as stream:
        for number, faces in enumerate((1, 3, 0, 12), start=1):
            data = encoded(picture(faces, seed=number))
            stream.send_bytes(data)
            answer = stream.receive_json()
            expected = client.post("/predict", content=data).json()
            assert (answer.pop("frame"), answer.pop("dropped")) == (number, 0)
            tracks = [face.pop("track") for face in answer["faces"]]
            assert len(set(tracks)) == faces
            assert set(answer) == set(expected)
            assert stable_fields(answer) == stable_fields(expected)


def test_stream_accepts_the_options_of_predict(client):
    with client.websocket_connect("/ws?max_faces=2&require_face=true") as stream:
        stream.send_bytes(encoded(picture(5)))
        assert len(stream.receive_json()["faces"]) == 2
        stream.send_bytes(encoded(picture(0)))
        assert stream.receive_json()["error"]["code"] == "no_face_detected"
    with client.websocket_connect("/ws?detect=false") as stream:
        stream.send_bytes(PNG)
        (face,) = stream.receive_json()["faces"]
        assert face["box"] == {"x": 0, "y": 0, "width": 160, "height": 120}


def test_stream_drops_the_older_waiting_frames(client, classifier):
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        wait_until(lambda: client.app.state.service.admission.permits == 1)
        for seed in (1, 2, 3, 4):
            stream.send_bytes(encoded(picture(1, seed=seed)))
        wait_until(lambda: metric_value(client, 'fer_stream_frames_total{outcome="dropped"}') == 3)
        classifier.released.set()
        first, last = stream.receive_json(), stream.receive_json()
        assert (first["frame"], last["frame"], last["dropped"]) == (1, 5, 3)
        expected = client.post("/predict", content=encoded(picture(1, seed=4))).json()
        assert last["scores"] == expected["scores"]
    assert metric_value(client, 'fer_stream_frames_total{outcome="answered"}') == 2
    assert metric_value(client, "fer_stream_frame_duration_seconds_count") == 2


def test_stream_invalid_frame_fails_alone(make_client, classifier):
    client = make_client(max_body_bytes=20_000)
    classifier.poison = 7
    poisoned = picture(1)
    poisoned[:40, :40] = 255
    poisoned[:20, :20] = 7  # the crop keeps its grey levels, because its contrast is high
    poisoned[18:22, 18:22] = 255
    cases = [
        (b"", "empty_image"),
        (b"hello", "unsupported_image_format"),
        (PNG[: len(PNG) // 2], "undecodable_image"),
        (PNG + b"\0" * 20_000, "payload_too_large"),
        (encoded(poisoned), "internal"),
        ("hello", "malformed_request"),
    ]
    with client.websocket_connect("/ws", headers={"X-Request-ID": "mine"}) as stream:
        stream.send_bytes(PNG)
        faces = stream.receive_json()["faces"]
        for data, code in cases:
            stream.send_text(data) if isinstance(data, str) else stream.send_bytes(data)
            answer = stream.receive_json()
            assert set(answer) == {"frame", "dropped", "error"}
            assert set(answer["error"]) == {"type", "title", "status", "detail", "code", "request_id"}
            assert (answer["error"]["code"], answer["error"]["request_id"]) == (code, "mine")
            assert "secret" not in answer["error"]["detail"]
        assert answer["frame"] is None  # a text message is not a frame
        stream.send_bytes(PNG)
        again = stream.receive_json()
        assert (again["frame"], again["faces"]) == (7, faces)
    assert metric_value(client, 'fer_stream_frames_total{outcome="failed"}') == 5
    assert metric_value(client, 'fer_rejections_total{reason="payload_too_large"}') == 1


def test_stream_frame_after_its_deadline_is_deadline_exceeded(make_client, classifier):
    client = make_client(deadline_ms=50)
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        assert stream.receive_json()["error"]["code"] == "deadline_exceeded"


def test_stream_frame_needs_a_permit(make_client, classifier):
    client = make_client(max_queue=1)
    with client.websocket_connect("/ws") as stream:
        classifier.released.clear()
        request = threading.Thread(target=client.post, args=("/predict",), kwargs={"content": PNG})
        request.start()
        wait_until(lambda: client.app.state.service.admission.permits == 1)
        stream.send_bytes(PNG)
        assert stream.receive_json()["error"]["code"] == "overloaded"
        classifier.released.set()
        request.join()
        stream.send_bytes(PNG)
        assert stream.receive_json()["emotion"]
        assert client.app.state.service.admission.permits == 0


def test_stream_above_the_limit_is_closed_as_overloaded(make_client):
    client = make_client(max_queue=2)
    with client.websocket_connect("/ws"), client.websocket_connect("/ws"):
        wait_until(lambda: metric_value(client, "fer_open_streams") == 2)
        with client.websocket_connect("/ws") as third:
            assert_closed(third, ErrorCode.OVERLOADED, 1013)
    wait_until(lambda: metric_value(client, "fer_open_streams") == 0)
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        assert stream.receive_json()["frame"] == 1


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


def test_idle_stream_answers_both_of_two_frames_that_arrive_at_once(client):
    frame = {"type": "websocket.receive", "bytes": PNG}
    incoming, sent = [{"type": "websocket.connect"}, frame, frame], []

    async def run() -> None:
        answered = asyncio.Event()

        async def receive() -> dict:  # like uvicorn's, it does not yield while a message is available
            if not incoming:
                await answered.wait()
                return {"type": "websocket.disconnect", "code": 1000}
            return incoming.pop(0)

        async def send(message: dict) -> None:
            sent.append(message)
            if len(sent) == 3:  # the acceptance and two answers
                answered.set()

        scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "headers": []}
        async with asyncio.timeout(10):
            await client.app(scope | {"root_path": "", "scheme": "ws", "subprotocols": []}, receive, send)

    client.portal.call(run)
    answers = [json.loads(message["text"]) for message in sent[1:]]
    assert [(answer["frame"], answer["dropped"]) for answer in answers] == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    "query", ["smoothing=1.1", "smoothing=-1", "smoothing=x", "max_faces=0", "detect=maybe", "api_key=right"]
)
def test_stream_handshake_with_an_invalid_parameter_is_refused(client, query):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(f"/ws?{query}"):
        pass
    assert (refused.value.status_code, refused.value.json()["code"]) == (422, "invalid_parameter")
    assert query.partition("=")[0] in refused.value.json()["detail"]


KEYS = {"api_keys": "right,other"}


@pytest.mark.parametrize("headers", [{"X-API-Key": "right"}, {"Authorization": "Bearer other"}])
def test_stream_accepts_a_key_in_a_header(make_client, headers):
    with make_client(**KEYS).websocket_connect("/ws", headers=headers) as stream:
        stream.send_bytes(PNG)
        assert stream.receive_json()["frame"] == 1


def test_stream_accepts_a_key_in_the_first_message(make_client):
    with make_client(**KEYS).websocket_connect("/ws") as stream:
        stream.send_json({"api_key": "right"})
        stream.send_bytes(PNG)
        assert stream.receive_json()["frame"] == 1


@pytest.mark.parametrize(
    "first",
    [
        *('{"api_key": "wrong"}', '{"api_key": ""}', '{"api_key": 1}', "right", "{}", PNG, b'{"api_key": "right"}'),
        '{"api_key": "right"' + " " * 10_000 + "}",  # longer than any key message
    ],
    ids=range(8),
)
def test_stream_without_a_valid_key_is_closed(make_client, classifier, first):
    with make_client(**KEYS).websocket_connect("/ws") as stream:
        stream.send_bytes(first) if isinstance(first, bytes) else stream.send_text(first)
        stream.send_bytes(PNG)  # would be answered with a valid key
        assert_closed(stream, ErrorCode.UNAUTHORIZED, 1008)
    assert classifier.batches == []


def test_stream_without_a_key_message_is_closed_at_the_deadline(make_client):
    with make_client(**KEYS, deadline_ms=50).websocket_connect("/ws") as stream:
        assert_closed(stream, ErrorCode.UNAUTHORIZED, 1008)


def test_stream_ignores_a_key_that_is_not_needed(client):
    with client.websocket_connect("/ws") as stream:
        stream.send_json({"api_key": "any"})
        stream.send_bytes(PNG)
        assert stream.receive_json()["frame"] == 1


@pytest.mark.parametrize("origin", [None, "http://testserver", "https://testserver", "https://page.example"])
def test_stream_accepts_no_origin_its_own_origin_and_configured_origins(make_client, origin):
    client = make_client(cors_origins="https://page.example")
    with client.websocket_connect("/ws", headers={"Origin": origin} if origin else {}) as stream:
        stream.send_bytes(PNG)
        assert stream.receive_json()["frame"] == 1


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://testserver.evil.example", "http://testserver:81", "null", ""]
)
def test_stream_refuses_other_origins(make_client, origin):
    client = make_client(cors_origins="https://page.example")
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/ws", headers={"Origin": origin}),
    ):
        pass
    assert (refused.value.status_code, refused.value.json()["code"]) == (403, ErrorCode.FORBIDDEN_ORIGIN)
    assert refused.value.headers["content-type"] == "application/problem+json"


def test_stream_drain_answers_the_running_frame_then_closes(client, classifier):
    classifier.released.clear()
    readiness = client.app.state.service.readiness
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        wait_until(lambda: client.app.state.service.admission.permits == 1)
        stream.send_bytes(PNG)  # waits until the drain drops it
        readiness.drain()
        wait_until(lambda: metric_value(client, 'fer_stream_frames_total{outcome="dropped"}') == 1)
        classifier.released.set()
        assert stream.receive_json()["frame"] == 1
        assert_closed(stream, ErrorCode.DRAINING, 1012)
    with client.websocket_connect("/ws") as second:
        assert_closed(second, ErrorCode.DRAINING, 1012)


def test_idle_stream_is_closed_when_the_drain_begins(client):
    with client.websocket_connect("/ws") as stream:
        wait_until(lambda: metric_value(client, "fer_open_streams") == 1)
        client.app.state.service.readiness.drain()
        assert_closed(stream, ErrorCode.DRAINING, 1012)


def test_stream_before_the_model_is_loaded_is_closed_as_not_ready(make_client):
    client = make_client()
    client.app.state.service.engine._model = None
    with client.websocket_connect("/ws") as stream:
        assert_closed(stream, ErrorCode.NOT_READY, 1013)


def test_parallel_streams_track_separately(client):
    streams = [client.websocket_connect("/ws?smoothing=1") for _ in range(3)]
    with streams[0] as one, streams[1] as two, streams[2] as three:
        for stream, faces in ((one, 1), (two, 2), (three, 3)):
            stream.send_bytes(encoded(picture(faces, seed=faces)))
        counts = [len(stream.receive_json()["faces"]) for stream in (one, two, three)]
    assert counts == [1, 2, 3]


def test_stream_disconnect_during_a_frame_releases_its_permit(client, classifier):
    service = client.app.state.service
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        wait_until(lambda: service.admission.permits == 1)
    wait_until(lambda: metric_value(client, "fer_open_streams") == 0 and service.admission.permits == 0)
    classifier.released.set()


@pytest.mark.parametrize("origin", ["http://[", "http://[::1"])
def test_stream_refuses_an_invalid_origin(client, origin):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws", headers={"Origin": origin}):
        pass
    assert refused.value.status_code == 403


def test_stream_handshake_returns_the_request_id(client):
    with client.websocket_connect("/ws", headers={"X-Request-ID": "mine"}) as stream:
        assert dict(stream.extra_headers)[b"x-request-id"] == b"mine"


def test_number_of_streams_without_a_key_message_is_limited(make_client, monkeypatch):
    monkeypatch.setattr("app.api.admission.MAX_UNAUTHENTICATED_STREAMS", 1)
    client = make_client(**KEYS)
    with client.websocket_connect("/ws") as first:
        with client.websocket_connect("/ws") as second:
            assert_closed(second, ErrorCode.OVERLOADED, 1013)
        with client.websocket_connect("/ws", headers={"X-API-Key": "right"}) as third:
            third.send_bytes(PNG)
            assert third.receive_json()["frame"] == 1
        first.send_json({"api_key": "right"})
        first.send_bytes(PNG)
        assert first.receive_json()["frame"] == 1
        with client.websocket_connect("/ws") as fourth:  # the first stream has sent its key
            fourth.send_json({"api_key": "right"})
            fourth.send_bytes(PNG)
            assert fourth.receive_json()["frame"] == 1


def test_request_without_a_handshake_is_explained(client):
    problem = assert_problem(client.get("/ws"), ErrorCode.NOT_FOUND)
    assert problem["detail"].startswith("expected a WebSocket handshake. Received: a request without one")
