"""Connections at their edges: early refusals, offers of other protocols, half-closed connections, the drain."""

from __future__ import annotations

import json
import logging
import socket
import time

import httpx2
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.config import Settings
from app.main import create_app
from app.server import lingering, protocol
from tests.support.fakes import BlockingDetector, FakeClassifier, FakeDetector
from tests.support.images import PNG
from tests.support.raw_http import WEBSOCKET_HANDSHAKE, chunked, connected, head, receive_all, receive_response
from tests.support.responses import stable_fields
from tests.support.server import serving
from tests.support.waiting import wait_until

LARGE = bytes(8_000_000)
KEY = "X-API-Key: secret"
IMAGE = "Content-Type: image/png"
# Refusals before the body is read: expected status, method, path, headers.
REFUSALS = {
    "401": (401, "POST", "/predict", ["X-API-Key: wrong"]),
    "401 batch": (401, "POST", "/predict/batch", []),
    "413": (413, "POST", "/predict", [KEY]),
    "413 compatible": (413, "POST", "/analyze", [KEY, "Content-Type: application/json"]),
    "404": (404, "POST", "/nothing", [KEY]),
    "405": (405, "POST", "/healthz", [KEY]),
    "405 get": (405, "PUT", "/predict", [KEY]),
    "422": (422, "POST", "/predict?max_faces=x", [KEY, IMAGE]),
}
CLOSING = {"HTTP/1.0": ("1.0", []), "close": ("1.1", ["Connection: close"])}


@pytest.fixture
def url(make_server):
    return make_server(api_keys="secret", max_body_bytes=1_000_000, cors_origins="https://page.example")


@pytest.fixture
def open_url(make_server):
    return make_server()


@pytest.mark.parametrize("closing", CLOSING)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_early_refusal_arrives_although_the_connection_closes(url, refusal, is_chunked, closing):
    status, method, path, headers = REFUSALS[refusal]
    version, closing_headers = CLOSING[closing]
    if is_chunked:
        request = head(method, path, *headers, *closing_headers, "Transfer-Encoding: chunked", version=version)
        request += chunked(LARGE)
    else:
        request = head(method, path, *headers, *closing_headers, size=len(LARGE), version=version) + LARGE
    with connected(url) as connection:
        connection.sendall(request)  # the client reads only after it has sent everything
        answer = receive_response(connection)
        assert answer[0] == status
        assert answer[1]["connection"] == "close"
        json.loads(answer[2])  # complete
        assert connection.recv(1) == b""


def test_unsupported_media_type_arrives_although_the_connection_closes(open_url):
    with connected(open_url) as connection:
        connection.sendall(head("POST", "/predict", "Content-Type: text/plain", size=len(LARGE), version="1.0") + LARGE)
        assert receive_response(connection)[0] == 415


def test_overload_and_its_retry_after_arrive_although_the_connection_closes(make_server, classifier):
    url = make_server(max_queue=1)
    classifier.released.clear()
    with connected(url) as first, connected(url) as second:
        first.sendall(head("POST", "/predict", IMAGE, size=len(PNG)) + PNG)
        wait_until(lambda: 'fer_stage_duration_seconds_count{stage="decode"} 1.0' in httpx2.get(url + "/metrics").text)
        second.sendall(head("POST", "/predict", IMAGE, size=len(LARGE), version="1.0") + LARGE)
        status, headers, _ = receive_response(second)
        assert (status, headers["retry-after"]) == (503, "1")
        classifier.released.set()
        assert receive_response(first)[0] == 200


def test_malformed_request_with_a_body_is_answered(url):
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", "Content-Length: x") + LARGE)
        assert receive_response(connection)[0] == 400


def test_oversized_head_is_answered(url):
    with connected(url) as connection:
        connection.sendall(head("GET", "/healthz", "X: " + "a" * 4_000_000))
        assert receive_response(connection)[0] == 400


def test_kept_connection_serves_the_next_request_after_an_early_refusal(url):
    body = bytes(500_000)
    with connected(url) as connection:
        for _ in range(3):
            connection.sendall(head("POST", "/predict", "X-API-Key: wrong", size=len(body)) + body)
            assert receive_response(connection)[0] == 401
        connection.sendall(head("POST", "/predict", KEY, IMAGE, size=len(PNG)) + PNG)
        assert receive_response(connection)[0] == 200


def send_repeatedly(connection: socket.socket, data: bytes, times: int) -> None:
    for _ in range(times):
        connection.sendall(data)
        time.sleep(0.02)


@pytest.mark.parametrize("closing", ["", "Connection: close"])
def test_client_that_sends_slowly_after_a_refusal_is_disconnected(url, monkeypatch, closing):
    monkeypatch.setattr(lingering, "MAX_PAUSE_S", 0.1)
    monkeypatch.setattr(lingering, "MAX_SURPLUS_S", 0.3)
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", *filter(None, [closing]), size=1_000_000) + b"a")
        assert receive_response(connection)[0] == 401
        with pytest.raises(OSError, match=r"rese|pipe"):
            send_repeatedly(connection, b"a", 500)  # never pauses for long


@pytest.mark.parametrize("closing", ["", "Connection: close"])
def test_client_that_stops_sending_after_a_refusal_is_disconnected(url, monkeypatch, closing):
    monkeypatch.setattr(lingering, "MAX_PAUSE_S", 0.2)
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", *filter(None, [closing]), size=1_000_000) + b"a")
        assert receive_response(connection)[0] == 401
        assert connection.recv(1) == b""
        time.sleep(0.6)
        with pytest.raises(OSError, match=r"rese|pipe"):
            send_repeatedly(connection, b"a", 10)


@pytest.mark.parametrize("closing", ["", "Connection: close"])
def test_client_that_sends_without_end_after_a_refusal_is_disconnected(url, monkeypatch, closing):
    monkeypatch.setattr(lingering, "MAX_SURPLUS_BYTES", 1_000_000)
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", *filter(None, [closing]), "Transfer-Encoding: chunked"))
        with pytest.raises(OSError, match=r"rese|pipe"):
            send_repeatedly(connection, chunked(bytes(1_000_000))[:-5], 100)


def test_expectation_is_refused_without_the_body(url):
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", "Expect: 100-continue", size=10_000))
        answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer.lower()


def test_expectation_is_continued(open_url):
    with connected(open_url) as connection:
        connection.sendall(head("POST", "/predict", IMAGE, "Expect: 100-continue", size=len(PNG)))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PNG)
        status, headers, _ = receive_response(connection)
        assert (status, "connection" in headers) == (200, False)


def test_expectation_of_http_1_0_is_ignored(open_url):
    with connected(open_url) as connection:
        connection.sendall(head("POST", "/predict", IMAGE, "Expect: 100-continue", size=len(PNG), version="1.0") + PNG)
        assert receive_all(connection).startswith(b"HTTP/1.1 200")


OFFERS = {
    "h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
    "tls": ["Upgrade: TLS/1.0", "Connection: keep-alive, upgrade"],
    "several": ["Connection: Upgrade", "Upgrade: foo/2, h2c"],
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("form", ["sized", "chunked", "in parts", "HTTP/1.0", "close"])
def test_offer_of_another_protocol_is_ignored(open_url, offer, form):
    headers = [IMAGE, *OFFERS[offer], *(["Connection: close"] if form == "close" else [])]
    request = head("POST", "/predict", *headers, size=len(PNG), version="1.0" if form == "HTTP/1.0" else "1.1") + PNG
    if form == "chunked":
        request = head("POST", "/predict", *headers, "Transfer-Encoding: chunked") + chunked(PNG, 10)
    step = 7 if form == "in parts" else len(request)
    expected = stable_fields(httpx2.post(open_url + "/predict", content=PNG).json())
    with connected(open_url) as connection:
        for at in range(0, len(request), step):
            connection.sendall(request[at : at + step])
        status, response_headers, body = receive_response(connection)
        assert (status, stable_fields(json.loads(body))) == (200, expected)
        assert (response_headers.get("connection") == "close") == (form in {"HTTP/1.0", "close"})
        if form not in {"HTTP/1.0", "close"}:
            connection.sendall(head("GET", "/healthz"))
            assert receive_response(connection)[0] == 200


def test_many_offers_in_one_segment_are_ignored(open_url):
    requests = 2000
    with connected(open_url) as connection:
        connection.sendall(head("GET", "/healthz", *OFFERS["h2c"]) * requests + head("GET", "/", "Connection: close"))
        assert receive_all(connection).count(b'{"status":"ok"}') == requests


def test_data_after_a_request_that_is_not_a_request_is_refused_without_an_error(open_url, caplog):
    caplog.set_level(logging.INFO)
    with connected(open_url) as connection:
        connection.sendall(head("POST", "/predict", IMAGE, size=len(PNG)) + PNG + b"not a request\r\n\r\n")
        assert receive_response(connection)[0] == 400
        assert receive_all(connection) == b""
        wait_until(lambda: any("/predict" in record.getMessage() for record in caplog.records))
        time.sleep(0.1)  # the service has written the line of its log before it fails
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_connect_is_refused(open_url):
    with connected(open_url) as connection:
        connection.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
        assert receive_response(connection)[0] == 400


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_half_closed_request_is_answered(open_url, version):
    with connected(open_url) as connection:
        connection.sendall(head("POST", "/predict", IMAGE, size=len(PNG), version=version) + PNG)
        connection.shutdown(socket.SHUT_WR)
        answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"faces"' in answer


def test_half_closed_pipelined_requests_are_answered(open_url):
    with connected(open_url) as connection:
        connection.sendall(head("GET", "/healthz") * 3 + head("POST", "/predict", IMAGE, size=len(PNG)) + PNG)
        connection.shutdown(socket.SHUT_WR)
        answer = receive_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 4
    assert b'"faces"' in answer


def test_half_closed_request_that_waits_is_answered_after_interim_responses(make_server, classifier, monkeypatch):
    monkeypatch.setattr(protocol, "_FIRST_PROBE_S", 0.05)
    url = make_server()
    classifier.released.clear()
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", IMAGE, size=len(PNG)) + PNG)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        classifier.released.set()
        assert receive_response(connection)[0] == 200


@pytest.mark.parametrize("sent", [b"", b"GET /hea", head("POST", size=100) + b"abc"], ids=["nothing", "head", "body"])
def test_half_closed_incomplete_request_closes_the_connection(open_url, sent):
    with connected(open_url, timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_disconnect_is_noticed_at_once_on_a_busy_instance(version, monkeypatch):
    # On an idle instance the first probe comes after this time: longer than this test may take.
    monkeypatch.setattr(protocol, "_FIRST_PROBE_S", 60)
    detector = BlockingDetector()
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), detector)
    with serving(app) as url:
        try:
            request = head("POST", "/predict", IMAGE, size=len(PNG), version=version) + PNG
            callers = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) for _ in range(30)]
            for caller in callers:
                caller.sendall(request)
            wait_until(lambda: app.state.service.admission.permits == 30)
            time.sleep(0.1)  # until the bodies have arrived
            for caller in callers:
                caller.close()
            wait_until(lambda: app.state.service.admission.permits <= protocol._FEW_REQUESTS, seconds=30)
        finally:
            detector.released.set()


@pytest.mark.parametrize(
    ("method", "header", "body"),
    [
        ("GET", "Content-Length: 5", b"hello"),
        ("POST", f"Content-Length: {len(LARGE)}", LARGE),
        ("GET", "Transfer-Encoding: chunked", chunked(b"hello")),
        ("GET", "X: " + "a" * 20_000, b""),
    ],
    ids=["sized", "large post", "chunked", "long header"],
)
def test_invalid_websocket_handshake_is_refused_at_once(open_url, method, header, body):
    with connected(open_url, timeout=5) as connection:
        connection.sendall(head(method, "/ws", *WEBSOCKET_HANDSHAKE, header) + body)
        assert receive_response(connection)[0] == 400


def test_pipelined_websocket_handshake_follows_the_earlier_response(classifier):
    classifier.released.clear()
    app = create_app(Settings(deadline_ms=60_000), classifier, FakeDetector())
    with serving(app, timeout_keep_alive=1) as url, connected(url) as connection:
        connection.sendall(
            head("POST", "/predict", IMAGE, size=len(PNG)) + PNG + head("GET", "/ws", *WEBSOCKET_HANDSHAKE)
        )
        time.sleep(0.1)
        classifier.released.set()
        assert receive_response(connection)[0] == 200
        assert receive_response(connection)[0] == 101
        time.sleep(1.5)  # longer than the keep-alive time
        connection.sendall(b"\x89\x80\x00\x00\x00\x00")  # a ping
        assert connection.recv(2) == b"\x8a\x00"


def test_every_answer_during_the_drain_closes_the_connection(classifier):
    app = create_app(Settings(cors_origins="https://page.example"), classifier, FakeDetector())
    with serving(app) as url:
        requests = {
            "predict": (200, head("POST", "/predict", IMAGE, size=len(PNG)) + PNG),
            "liveness": (200, head("GET", "/healthz")),
            "readiness": (503, head("GET", "/readyz")),
            "metrics": (200, head("GET", "/metrics")),
            "missing": (404, head("GET", "/nothing")),
            "page": (200, head("GET", "/")),
            "preflight": (
                200,
                head("OPTIONS", "/predict", "Origin: https://page.example", "Access-Control-Request-Method: POST"),
            ),
        }
        with connected(url) as kept:
            kept.sendall(requests["predict"][1])
            assert "connection" not in receive_response(kept)[1]
            app.state.service.readiness.drain()
            for status, request in requests.values():
                with connected(url) as connection:
                    connection.sendall(request)
                    answer = receive_response(connection)
                    assert (answer[0], answer[1].get("connection")) == (status, "close")
            kept.sendall(requests["predict"][1])
            assert receive_response(kept)[1]["connection"] == "close"


def test_answer_that_waits_when_the_drain_begins_closes_the_connection(classifier):
    app = create_app(Settings(deadline_ms=60_000), classifier, FakeDetector())
    classifier.released.clear()
    with serving(app) as url, connected(url) as connection:
        connection.sendall(head("POST", "/predict", IMAGE, size=len(PNG)) + PNG)
        wait_until(lambda: app.state.service.admission.permits == 1)
        app.state.service.readiness.drain()
        classifier.released.set()
        status, headers, _ = receive_response(connection)
        assert (status, headers["connection"]) == (200, "close")


def test_pages_of_other_origins_may_read_retry_after(url):
    response = httpx2.get(url + "/healthz", headers={"Origin": "https://page.example"})
    assert "Retry-After" in response.headers["access-control-expose-headers"]


def test_parts_of_uvicorn_that_are_overridden_or_called_exist():
    overridden = {name for name in vars(protocol.BoundedHttpProtocol) if hasattr(HttpToolsProtocol, name)}
    assert overridden >= {
        "connection_made", "connection_lost", "data_received", "eof_received", "handle_websocket_upgrade", "shutdown",
        "on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete",
    }  # fmt: skip
    for name in ("_should_upgrade", "_unset_keepalive_if_required", "send_400_response", "timeout_keep_alive_handler"):
        assert callable(getattr(HttpToolsProtocol, name))
    assert {"receive", "send", "run_asgi"} <= set(vars(RequestResponseCycle))
