"""`WS /ws`: answers to frames: order, options, dropped frames, errors, deadlines."""

from __future__ import annotations

import asyncio
import json
import threading

from tests.support.images import PNG, encoded, picture
from tests.support.responses import metric_value, stable_fields
from tests.support.waiting import wait_until


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
