"""Bounds of a request head: its size and its time. Requests within the bounds are answered."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from app.server import protocol
from tests.support.fakes import FakeDetector
from tests.support.images import PNG
from tests.support.raw_http import receive_all
from tests.support.server import serving


@pytest.fixture
def port(make_server):
    return urlsplit(make_server()).port


HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def send_oversized_head(connection: socket.socket) -> None:
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(1000):  # 64 MB
        connection.sendall(b"a" * 65_536)
        time.sleep(0.001)


def test_oversized_head_closes_the_connection(port):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
        pytest.raises(OSError, match=r"rese|pipe"),
    ):
        send_oversized_head(connection)


def test_slow_head_closes_the_connection(port, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    for beginning in (b"", b"POST /predict HTTP/1.1\r\nHost: x\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(beginning)
            assert receive_all(connection) == b""


def test_slow_head_of_a_later_request_closes_the_connection(port, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal")
        assert receive_all(connection).startswith(b"HTTP/1.1 200")


def test_idle_connection_between_requests_stays_open(port, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.05)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for _ in range(3):
            assert client.post("/predict", content=PNG).status_code == 200
            time.sleep(0.2)
            (connection,) = client._transport._pool.connections
            assert connection.is_idle()


def test_head_within_the_bound_is_answered(port):
    response = httpx2.get(f"http://127.0.0.1:{port}/healthz", headers={"X": "a" * (protocol.MAX_HEAD_BYTES - 5000)})
    assert response.status_code == 200


def test_many_small_requests_at_once_are_answered(port, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_HEAD_BYTES", 8 * 1024)  # else the test needs thousands of requests
    count = 3 * protocol.MAX_HEAD_BYTES // len(HEALTHZ)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(HEALTHZ * count + HEALTHZ.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert receive_all(connection).count(b"HTTP/1.1 200") == count + 1


def test_request_after_a_head_request_is_answered(port):
    requests = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(requests)
        first, second, body = receive_all(connection).split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert b"text/html" in first
    assert second.startswith(b"HTTP/1.1 200")
    assert body == b'{"status":"ok"}'


def send_trailers(connection: socket.socket) -> None:
    for _ in range(1000):
        connection.sendall(b"h: v\r\n" * 10_000)
        time.sleep(0.001)


def test_oversized_trailers_close_the_connection(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with pytest.raises(OSError, match=r"rese|pipe"):
            send_trailers(connection)


def test_large_body_in_small_chunks_is_accepted(port):
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PNG[i : i + 7] for i in range(0, len(PNG), 7)))
    padding = b"2;x=y\r\n\r\n\r\n" * (2 * protocol.MAX_HEAD_BYTES // 11)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + body + padding + b"0\r\nlast: one\r\n\r\n")
        assert receive_all(connection).startswith(b"HTTP/1.1 200")


def test_idle_connection_is_closed_despite_an_empty_line_after_the_response(classifier):
    app = create_app(Settings(), classifier, FakeDetector())
    with (
        serving(app, timeout_keep_alive=1) as url,
        socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=10) as connection,
    ):
        connection.sendall(HEALTHZ)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        assert receive_all(connection) == b""
