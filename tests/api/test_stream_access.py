"""`WS /ws`: handshakes, keys and origins that are accepted or refused."""

from __future__ import annotations

import pytest
from starlette.testclient import WebSocketDenialResponse

from app.errors import ErrorCode
from tests.support.images import PNG
from tests.support.responses import assert_problem
from tests.support.streams import assert_closed


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
