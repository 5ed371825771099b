"""`WS /ws`: order, dropping, errors, smoothing, keys, origins, limits, draining."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import numpy as np
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from app.api.problems import STATUS
from app.config import Settings
from app.errors import ErrorCode
from app.main import create_app
from tests.api.test_predict import VOLATILE
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import encoded, picture

FRAME = encoded(picture(1))


def metric(client, line: str) -> float:
    (found,) = [text for text in client.get("/metrics").text.splitlines() if text.startswith(line + " ")]
    return float(found.split()[-1])


def wait_until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited 10 s in vain"
        time.sleep(0.005)


def assert_ended(stream, code: ErrorCode, close: int) -> None:
    """The stream says why it ends, then ends."""
    said = stream.receive_json()
    assert said["frame"] is None
    assert (said["error"]["code"], said["error"]["status"]) == (code, STATUS[code])
    with pytest.raises(WebSocketDisconnect) as closed:
        stream.receive_json()
    assert (closed.value.code, closed.value.reason) == (close, said["error"]["detail"])


def test_stream_answers_each_frame_as_predict_does(client):
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
            assert {key: answer[key] for key in answer if key not in VOLATILE} == {
                key: expected[key] for key in expected if key not in VOLATILE
            }


def test_stream_options_are_those_of_predict(client):
    with client.websocket_connect("/ws?max_faces=2&require_face=true") as stream:
        stream.send_bytes(encoded(picture(5)))
        assert len(stream.receive_json()["faces"]) == 2
        stream.send_bytes(encoded(picture(0)))
        assert stream.receive_json()["error"]["code"] == "no_face_detected"
    with client.websocket_connect("/ws?detect=false") as stream:
        stream.send_bytes(FRAME)
        (face,) = stream.receive_json()["faces"]
        assert face["box"] == {"x": 0, "y": 0, "width": 160, "height": 120}


def test_stream_behind_drops_the_oldest_waiting_frame(client, classifier):
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(FRAME)
        wait_until(lambda: metric(client, "fer_inflight_requests") == 1 and client.app.state.service.admitted == 1)
        for seed in (1, 2, 3, 4):
            stream.send_bytes(encoded(picture(1, seed=seed)))
        wait_until(lambda: metric(client, 'fer_stream_frames_total{outcome="dropped"}') == 3)
        classifier.released.set()
        first, last = stream.receive_json(), stream.receive_json()
        assert (first["frame"], last["frame"], last["dropped"]) == (1, 5, 3)
        expected = client.post("/predict", content=encoded(picture(1, seed=4))).json()
        assert last["scores"] == expected["scores"]
    assert metric(client, 'fer_stream_frames_total{outcome="answered"}') == 2
    assert metric(client, "fer_stream_frame_duration_seconds_count") == 2


def test_stream_bad_frames_are_answered_and_hurt_no_other(make_client, classifier):
    client = make_client(max_body_bytes=20_000)
    classifier.poison = 7
    poisoned = picture(1)
    poisoned[:40, :40][poisoned[:40, :40] < 250] = 7
    cases = [
        (b"", "empty_image"),
        (b"hello", "unsupported_image_format"),
        (FRAME[: len(FRAME) // 2], "undecodable_image"),
        (FRAME + b"\0" * 20_000, "payload_too_large"),
        (encoded(poisoned), "internal"),
        ("hello", "malformed_request"),
    ]
    with client.websocket_connect("/ws", headers={"X-Request-ID": "mine"}) as stream:
        stream.send_bytes(FRAME)
        good = stream.receive_json()["faces"]
        for data, code in cases:
            stream.send_text(data) if isinstance(data, str) else stream.send_bytes(data)
            answer = stream.receive_json()
            assert set(answer) == {"frame", "dropped", "error"}
            assert set(answer["error"]) == {"type", "title", "status", "detail", "code", "request_id"}
            assert (answer["error"]["code"], answer["error"]["request_id"]) == (code, "mine")
            assert "secret" not in answer["error"]["detail"]
        assert answer["frame"] is None  # a text is no frame
        stream.send_bytes(FRAME)
        again = stream.receive_json()
        assert (again["frame"], again["faces"]) == (7, good)
    assert metric(client, 'fer_stream_frames_total{outcome="failed"}') == 5
    assert metric(client, 'fer_rejections_total{reason="payload_too_large"}') == 1


def test_stream_frame_past_its_deadline_is_answered_so(make_client, classifier):
    client = make_client(deadline_ms=50)
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(FRAME)
        assert stream.receive_json()["error"]["code"] == "deadline_exceeded"


def test_stream_frames_need_permits(make_client, classifier):
    client = make_client(max_queue=1)
    with client.websocket_connect("/ws") as stream:
        classifier.released.clear()
        request = threading.Thread(target=client.post, args=("/predict",), kwargs={"content": FRAME})
        request.start()
        wait_until(lambda: client.app.state.service.admitted == 1)
        stream.send_bytes(FRAME)
        assert stream.receive_json()["error"]["code"] == "overloaded"
        classifier.released.set()
        request.join()
        stream.send_bytes(FRAME)
        assert stream.receive_json()["emotion"]
        assert client.app.state.service.admitted == 0


def test_stream_too_many_are_told_to_come_again(make_client):
    client = make_client(max_queue=2)
    with client.websocket_connect("/ws"), client.websocket_connect("/ws"):
        wait_until(lambda: metric(client, "fer_open_streams") == 2)
        with client.websocket_connect("/ws") as third:
            assert_ended(third, ErrorCode.OVERLOADED, 1013)
    wait_until(lambda: metric(client, "fer_open_streams") == 0)
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(FRAME)
        assert stream.receive_json()["frame"] == 1


def test_stream_smoothing_follows_a_face_and_mixes_its_scores(client):
    one, other = encoded(picture(1, seed=1)), encoded(picture(1, seed=2))
    plain = [client.post("/predict", content=data).json()["faces"][0]["scores"] for data in (one, other)]
    assert plain[0] != plain[1]
    with client.websocket_connect("/ws?smoothing=1") as stream:
        answers = []
        for data in (one, other):
            stream.send_bytes(data)
            answers.append(stream.receive_json())
    assert [answer["faces"][0]["track"] for answer in answers] == [1, 1]
    assert [answer["faces"][0]["scores"] for answer in answers] == [plain[0], plain[0]]  # 1 keeps the first
    assert answers[1]["scores"] == plain[0]


class Following(FakeDetector):
    """Finds new faces only where it searches everything."""

    def __init__(self) -> None:
        self.searches = 0

    def detect(self, grey):
        self.searches += 1
        return super().detect(grey)

    def track(self, grey, known):
        return [face for face in super().detect(grey) if face.box in known]


@pytest.mark.parametrize(("every_s", "found"), [(3600, 2), (0.02, 4)])
def test_stream_follows_known_faces_and_searches_for_new_ones_from_time_to_time(monkeypatch, every_s, found):
    monkeypatch.setattr("app.api.streams.SEARCH_EVERY_S", every_s)
    detector = Following()
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), detector)
    with TestClient(app) as client, client.websocket_connect("/ws") as stream:

        def faces_in(count: int) -> int:
            stream.send_bytes(encoded(picture(count)))
            return len(stream.receive_json()["faces"])

        assert faces_in(2) == 2  # the first frame is searched whole
        assert detector.searches == 1
        if found == 2:
            assert [faces_in(4) for _ in range(5)] == [2] * 5
            assert detector.searches == 1
        else:
            wait_until(lambda: faces_in(4) == 4)
            assert detector.searches > 1


def test_stream_free_to_answer_drops_neither_of_two_frames_at_once(client):
    frame = {"type": "websocket.receive", "bytes": FRAME}
    arriving, sent = [{"type": "websocket.connect"}, frame, frame], []

    async def run() -> None:
        answered = asyncio.Event()

        async def receive() -> dict:  # as uvicorn's: it does not yield to others while a message waits
            if not arriving:
                await answered.wait()
                return {"type": "websocket.disconnect", "code": 1000}
            return arriving.pop(0)

        async def send(message: dict) -> None:
            sent.append(message)
            if len(sent) == 3:  # accepted, and two answers
                answered.set()

        scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "headers": []}
        async with asyncio.timeout(10):
            await client.app(scope | {"root_path": "", "scheme": "ws", "subprotocols": []}, receive, send)

    client.portal.call(run)
    answers = [json.loads(message["text"]) for message in sent[1:]]
    assert [(answer["frame"], answer["dropped"]) for answer in answers] == [(1, 0), (2, 0)]


@pytest.mark.parametrize("query", ["smoothing=1.1", "smoothing=-1", "smoothing=x", "max_faces=0", "detect=maybe"])
def test_stream_bad_parameter_refuses_the_handshake(client, query):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(f"/ws?{query}"):
        pass
    assert (refused.value.status_code, refused.value.json()["code"]) == (422, "invalid_parameter")
    assert query.partition("=")[0] in refused.value.json()["detail"]


KEYS = {"api_keys": "right,other"}


@pytest.mark.parametrize("headers", [{"X-API-Key": "right"}, {"Authorization": "Bearer other"}])
def test_stream_key_in_a_header_opens(make_client, headers):
    with make_client(**KEYS).websocket_connect("/ws", headers=headers) as stream:
        stream.send_bytes(FRAME)
        assert stream.receive_json()["frame"] == 1


def test_stream_key_in_the_first_message_opens(make_client):
    with make_client(**KEYS).websocket_connect("/ws") as stream:
        stream.send_json({"api_key": "right"})
        stream.send_bytes(FRAME)
        assert stream.receive_json()["frame"] == 1


@pytest.mark.parametrize(
    "first",
    [
        *('{"api_key": "wrong"}', '{"api_key": ""}', '{"api_key": 1}', "right", "{}", FRAME, b'{"api_key": "right"}'),
        '{"api_key": "right"' + " " * 10_000 + "}",  # what is so long is no key
    ],
    ids=range(8),
)
def test_stream_without_the_key_ends(make_client, classifier, first):
    with make_client(**KEYS).websocket_connect("/ws?api_key=right") as stream:
        stream.send_bytes(first) if isinstance(first, bytes) else stream.send_text(first)
        stream.send_bytes(FRAME)  # which would be answered
        assert_ended(stream, ErrorCode.UNAUTHORIZED, 1008)
    assert classifier.batches == []


def test_stream_that_never_sends_its_key_ends(make_client):
    with make_client(**KEYS, deadline_ms=50).websocket_connect("/ws") as stream:
        assert_ended(stream, ErrorCode.UNAUTHORIZED, 1008)


def test_stream_key_that_nobody_asked_for_does_no_harm(client):
    with client.websocket_connect("/ws") as stream:
        stream.send_json({"api_key": "any"})
        stream.send_bytes(FRAME)
        assert stream.receive_json()["frame"] == 1


@pytest.mark.parametrize("origin", [None, "http://testserver", "https://testserver", "https://page.example"])
def test_stream_origin_of_the_service_or_configured_opens(make_client, origin):
    client = make_client(cors_origins="https://page.example")
    with client.websocket_connect("/ws", headers={"Origin": origin} if origin else {}) as stream:
        stream.send_bytes(FRAME)
        assert stream.receive_json()["frame"] == 1


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://testserver.evil.example", "http://testserver:81", "null", ""]
)
def test_stream_other_origin_is_refused(make_client, origin):
    client = make_client(cors_origins="https://page.example")
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/ws", headers={"Origin": origin}),
    ):
        pass
    assert (refused.value.status_code, refused.value.json()["code"]) == (403, ErrorCode.FORBIDDEN_ORIGIN)
    assert refused.value.headers["content-type"] == "application/problem+json"


def test_stream_drain_answers_the_frame_in_work_then_ends(client, classifier):
    classifier.released.clear()
    readiness = client.app.state.service.readiness
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(FRAME)
        wait_until(lambda: client.app.state.service.admitted == 1)
        stream.send_bytes(FRAME)  # waits, and goes with the drain
        readiness.drain()
        wait_until(lambda: metric(client, 'fer_stream_frames_total{outcome="dropped"}') == 1)
        classifier.released.set()
        assert stream.receive_json()["frame"] == 1
        assert_ended(stream, ErrorCode.DRAINING, 1012)
    with client.websocket_connect("/ws") as late:
        assert_ended(late, ErrorCode.DRAINING, 1012)


def test_stream_idle_ends_when_the_drain_begins(client):
    with client.websocket_connect("/ws") as stream:
        wait_until(lambda: metric(client, "fer_open_streams") == 1)
        client.app.state.service.readiness.drain()
        assert_ended(stream, ErrorCode.DRAINING, 1012)


def test_stream_before_the_model_is_loaded_is_told_to_come_again(make_client):
    client = make_client()
    client.app.state.service.engine = None
    with client.websocket_connect("/ws") as stream:
        assert_ended(stream, ErrorCode.NOT_READY, 1013)


def test_stream_parallel_streams_keep_their_own_faces(client):
    streams = [client.websocket_connect("/ws?smoothing=1") for _ in range(3)]
    with streams[0] as one, streams[1] as two, streams[2] as three:
        for stream, faces in ((one, 1), (two, 2), (three, 3)):
            stream.send_bytes(encoded(picture(faces, seed=faces)))
        counts = [len(stream.receive_json()["faces"]) for stream in (one, two, three)]
    assert counts == [1, 2, 3]


def test_stream_client_that_leaves_in_the_middle_frees_its_permit(client, classifier):
    service = client.app.state.service
    classifier.released.clear()
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(encoded(np.zeros((48, 48), np.uint8)))
        stream.send_bytes(FRAME)
        wait_until(lambda: service.admitted == 1 or metric(client, "fer_open_streams") == 1)
    wait_until(lambda: service.streams == 0 and service.admitted == 0)
    classifier.released.set()


@pytest.mark.parametrize("origin", ["http://[", "http://[::1"])
def test_stream_origin_that_is_no_address_is_refused(client, origin):
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws", headers={"Origin": origin}):
        pass
    assert refused.value.status_code == 403


def test_stream_handshake_returns_the_request_id(client):
    with client.websocket_connect("/ws", headers={"X-Request-ID": "mine"}) as stream:
        assert dict(stream.extra_headers)[b"x-request-id"] == b"mine"


def test_streams_that_wait_for_their_key_are_bounded(make_client, monkeypatch):
    monkeypatch.setattr("app.api.streams._MAX_KEYLESS", 1)
    client = make_client(**KEYS)
    with client.websocket_connect("/ws") as first:
        with client.websocket_connect("/ws") as second:
            assert_ended(second, ErrorCode.OVERLOADED, 1013)
        with client.websocket_connect("/ws", headers={"X-API-Key": "right"}) as third:
            third.send_bytes(FRAME)
            assert third.receive_json()["frame"] == 1
        first.send_json({"api_key": "right"})
        first.send_bytes(FRAME)
        assert first.receive_json()["frame"] == 1
        with client.websocket_connect("/ws") as fourth:  # the first one waits no more
            fourth.send_json({"api_key": "right"})
            fourth.send_bytes(FRAME)
            assert fourth.receive_json()["frame"] == 1
