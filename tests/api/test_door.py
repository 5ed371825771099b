"""Requests that are turned away by their heads: the same answers as their routes give, and connections in order."""

from __future__ import annotations

import json
import logging
import socket
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from app.api.door import Door
from app.config import Settings
from app.errors import ErrorCode
from app.main import create_app
from tests.api.test_disconnect import HeldDetector, sent
from tests.api.test_errors import PNG, wait_until
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.server import serving

NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"\0" * 700_000  # more than a server reads at once


class WatchedDoor:
    """A door, and what it did."""

    def __init__(self, service) -> None:
        self._door = Door(service)
        self.answers: list = []

    def __call__(self, *request):
        self.answers.append(self._door(*request))
        return self.answers[-1]


@contextmanager
def full(detector=None, options=None, **settings):
    """A service without a free permit. Gives it, its door and a connection to it."""
    app = create_app(
        Settings(deadline_ms=60_000, max_queue=1, **settings), FakeClassifier(), detector or FakeDetector()
    )
    door = WatchedDoor(app.state.service)
    with serving(app, door, **(options or {})) as url:
        app.state.service.admitted = 1
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            yield app.state.service, door, connection
        app.state.service.admitted = 0


def head(length: int, *more: str, target: str = "/predict", version: str = "1.1") -> bytes:
    lines = [f"POST {target} HTTP/{version}", "Host: x", "Content-Type: image/png", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Reader:
    """Reads answers, one after the other, from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, self._file.read(int(headers["content-length"]))

    def rest(self) -> bytes:
        return self._file.read()


def test_refused_before_its_body_is_sent_and_the_connection_goes_on_after_the_body():
    with full() as (service, door, connection):
        reader = Reader(connection)
        for _ in range(3):
            connection.sendall(head(len(LARGE)))
            status, headers, body = reader.answer()
            assert (status, json.loads(body)["code"]) == (503, "overloaded")
            assert headers["retry-after"]
            connection.sendall(LARGE)
            connection.sendall(NEXT)
            assert reader.answer()[0] == 200
        assert len(door.answers) == 3
        service.admitted = 0
        connection.sendall(head(len(PNG)) + PNG)
        assert reader.answer()[0] == 200


@pytest.mark.parametrize("size", [0, 1, 5000, 65_536, 262_144, len(LARGE)])
@pytest.mark.parametrize("step", [1000, 100_000, 10_000_000])
def test_what_comes_after_a_refused_body_is_answered_wherever_it_is_cut(size, step):
    with full() as (_, _, connection):
        reader = Reader(connection)
        data = (head(size) + LARGE[:size] + NEXT) * 2
        for at in range(0, len(data), step):
            connection.sendall(data[at : at + step])
        assert [reader.answer()[0] for _ in range(4)] == [503, 200, 503, 200]


def test_answer_is_that_of_the_route(make_client):
    with full() as (_, door, connection):
        connection.sendall(head(len(PNG), "X-Request-ID: mine") + PNG)
        status, headers, body = Reader(connection).answer()
        assert door.answers[0] is not None
    client = make_client(max_queue=1)
    client.app.state.service.admitted = 1
    routed = client.post("/predict", content=PNG, headers={"X-Request-ID": "mine"})
    client.app.state.service.admitted = 0
    assert (status, json.loads(body)) == (routed.status_code, routed.json())
    del headers["date"], headers["server"]  # uvicorn's own; the real server has the first alone
    assert headers == dict(routed.headers)
    assert headers["x-request-id"] == "mine"


def test_refusal_is_counted_and_logged_as_every_request(caplog):
    caplog.set_level(logging.INFO, "app.access")
    with full() as (service, _, connection):
        connection.sendall(head(len(PNG), "X-Request-ID: mine", target="/predict/batch") + PNG)
        Reader(connection).answer()
        sample = service.metrics.registry.get_sample_value
        labels = {"route": "/predict/batch"}
        assert sample("fer_requests_total", labels | {"status": "503"}) == 1
        assert sample("fer_request_duration_seconds_count", labels) == 1
        assert sample("fer_rejections_total", {"reason": "overloaded"}) == 1
    (line,) = [record for record in caplog.records if record.name == "app.access"]
    assert (line.request_id, line.method, line.route, line.status) == ("mine", "POST", "/predict/batch", 503)


def test_refusal_is_traced(make_client):
    pytest.importorskip("opentelemetry.sdk", reason="the packages of requirements/otel.txt are not installed")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from app.observability.tracing import OpenTelemetryTracing

    exporter = InMemorySpanExporter()
    service = make_client(max_queue=1).app.state.service
    service.tracing, service.admitted = OpenTelemetryTracing(exporter, {}), 1
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert Door(service)(b"POST", b"/predict", [(b"traceparent", parent)], 1) is not None
    service.admitted = 0
    service.tracing.shutdown()
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.attributes["http.response.status_code"]) == ("POST /predict", 503)
    assert format(span.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(len(PNG), "X-API-Key: wrong"), 401),
        (head(len(PNG), target="/nothing"), 404),
        (head(len(PNG), target="/predict").replace(b"POST", b"PUT"), 405),
        (head(len(PNG), "Origin: https://page.example"), 503),
    ],
    ids=["wrong key", "elsewhere", "method", "browser"],
)
def test_what_the_door_does_not_answer_its_route_does(request_head, status):
    keys = {"api_keys": "right", "cors_origins": "https://page.example"}
    if b"X-API-Key" not in request_head:
        request_head = request_head.replace(b"Host: x", b"Host: x\r\nX-API-Key: right")
    with full(**keys) as (_, door, connection):
        reader = Reader(connection)
        connection.sendall(request_head + PNG + NEXT)
        answered, headers, _ = reader.answer()
        assert (answered, reader.answer()[0]) == (status, 200)
        assert set(door.answers) == {None}
        if b"Origin" in request_head:
            assert headers["access-control-allow-origin"] == "https://page.example"


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(len(PNG), "Connection: close") + PNG,
        head(len(PNG), version="1.0") + PNG,
        head(len(PNG), "Expect: 100-continue") + PNG,
        head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["closing", "old", "expecting", "chunked"],
)
def test_connection_that_needs_more_than_an_answer_is_left_to_uvicorn(request_bytes):
    with full() as (_, door, connection):
        reader = Reader(connection)
        connection.sendall(request_bytes)
        status, _, body = reader.answer()
        assert (status, json.loads(body)["code"]) == (503, "overloaded")
        assert door.answers == []
        if b"close" in request_bytes or b"HTTP/1.0" in request_bytes:
            assert reader.rest() == b""
        else:
            connection.sendall(NEXT)
            assert reader.answer()[0] == 200


def test_length_of_endless_digits_is_an_answer_too():
    with full() as (_, _, connection):
        reader = Reader(connection)
        connection.sendall(head(3).replace(b": 3", b": " + b"0" * 5000 + b"3") + b"abc" + NEXT)
        assert [reader.answer()[0] for _ in range(2)] == [503, 200]


def test_answers_keep_the_order_of_their_requests():
    detector = HeldDetector()
    with full(detector) as (service, _, connection):
        service.admitted = 0
        connection.sendall(head(len(PNG)) + PNG)
        wait_until(lambda: detector.seen == 1)
        connection.sendall(head(len(PNG)) + PNG)  # no permit is left for it, and it must wait for the first
        time.sleep(0.1)
        detector.released.set()
        reader = Reader(connection)
        # By then the first one's permit is free.
        assert [reader.answer()[0] for _ in range(2)] == [200, 200]


def test_client_that_never_sends_the_refused_body_is_not_kept():
    with full(options={"timeout_keep_alive": 0.3}) as (_, _, connection):
        reader = Reader(connection)
        connection.sendall(head(len(LARGE)) + LARGE[:1000])
        assert reader.answer()[0] == 503
        assert reader.rest() == b""


def test_client_that_sends_slowly_is_kept_until_it_is_idle():
    with full(options={"timeout_keep_alive": 0.5}) as (_, _, connection):
        reader = Reader(connection)
        connection.sendall(head(1000))
        assert reader.answer()[0] == 503
        time.sleep(0.3)
        connection.sendall(LARGE[:1000])
        time.sleep(0.3)  # longer than that since the answer, not since the body
        connection.sendall(NEXT)
        assert reader.answer()[0] == 200


def test_client_that_reads_no_answers_does_not_pile_them_up():
    with full() as (_, door, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.sendall(head(0) * 500_000)  # of whose answers there would be 200 MB
        assert len(door.answers) < 50_000


def test_refusal_without_a_model_is_not_ready():
    with full() as (service, _, connection):
        engine, service.engine = service.engine, None
        connection.sendall(head(len(PNG)) + PNG)
        status, _, body = Reader(connection).answer()
        service.engine = engine
        assert (status, json.loads(body)["code"]) == (503, "not_ready")


def test_refusal_keeps_nothing_of_its_request(make_client):
    service = make_client(max_queue=1).app.state.service
    service.admitted = 1
    refusals: list = []
    door = Door(service)
    turn_away = door._turn_away
    door._turn_away = lambda refusal, *rest: refusals.append(refusal) or turn_away(refusal, *rest)
    assert door(b"POST", b"/predict", [], 1) is not None
    service.admitted = 0
    assert refusals[0].code == ErrorCode.OVERLOADED
    assert refusals[0].__traceback__ is None  # it would keep the frames of who asked, and with them this refusal


def test_door_lets_pass_what_has_room(make_server):
    url = make_server(max_queue=1)
    with sent(url) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
