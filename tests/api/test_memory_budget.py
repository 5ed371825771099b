"""The byte budget: bodies and frames in memory at once are bounded, whatever their form."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.config import Settings
from app.main import create_app
from tests.support.clients import ScriptedClient, running_app
from tests.support.fakes import FakeDetector
from tests.support.images import PNG
from tests.support.raw_http import WEBSOCKET_HANDSHAKE, chunked, connected, head, receive_all, receive_response
from tests.support.server import serving
from tests.support.waiting import wait_until

KIB = 1024
LIMITS = {"max_body_bytes": 64 * KIB, "max_inflight_bytes": 100 * KIB}


@pytest.fixture
def server(classifier):
    """URL of a server with a small byte budget, and its admission."""
    app = create_app(Settings(deadline_ms=60_000, **LIMITS), classifier, FakeDetector())
    with serving(app) as url:
        yield url, app.state.service.admission


@contextmanager
def full(admission, size: int):
    """Hold memory of the budget, as other requests do."""
    with admission.acquire(size) as permit:
        permit.hold(size)
        yield


def test_declared_bodies_are_counted_before_they_arrive(server):
    url, admission = server
    with connected(url) as first, connected(url) as second, connected(url) as small:
        first.sendall(head(size=60 * KIB))
        wait_until(lambda: admission.held_bytes == 60 * KIB)
        second.sendall(head(size=60 * KIB))
        status, headers, body = receive_response(second)
        assert (status, headers["retry-after"]) == (503, "1")
        assert b'"overloaded"' in body
        small.sendall(head(size=len(PNG)) + PNG)
        assert receive_response(small)[0] == 200
    wait_until(lambda: admission.held_bytes == 0)
    with connected(url) as again:
        again.sendall(head(size=len(PNG)) + PNG)
        assert receive_response(again)[0] == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/analyze", "/v2/models/fake/infer"])
def test_chunked_bodies_are_counted_while_they_arrive(server, path):
    url, admission = server
    with connected(url) as first, connected(url) as second:
        for connection in (first, second):
            connection.sendall(head("POST", path, "Transfer-Encoding: chunked", "Content-Type: application/json"))
        first.sendall(b"%x\r\n%s\r\n" % (60 * KIB, b" " * 60 * KIB))
        wait_until(lambda: admission.held_bytes == 60 * KIB)
        second.sendall(b"%x\r\n%s\r\n" % (60 * KIB, b" " * 60 * KIB))
        status, headers, _ = receive_response(second)
        assert (status, headers["retry-after"]) == (503, "1")
    wait_until(lambda: admission.held_bytes == 0)


def test_a_body_above_the_body_limit_is_too_large_even_with_a_full_budget(server):
    url, admission = server
    with full(admission, 100 * KIB), connected(url) as connection:
        connection.sendall(head(size=10**9))
        assert receive_response(connection)[0] == 413
    with connected(url) as connection:
        connection.sendall(head("POST", "/predict", "Transfer-Encoding: chunked") + chunked(bytes(65 * KIB)))
        assert receive_response(connection)[0] == 413


def test_the_memory_is_held_until_the_answer_and_given_back_after_a_failure():
    async def scenario():
        async with running_app() as app:
            admission = app.state.service.admission
            held = []
            app.state.service.engine.expected_wait_s = lambda size, bulk: held.append(admission.held_bytes) or 0.0
            await ScriptedClient(messages=3).call(app)
            assert held[-1] == len(PNG)
            await ScriptedClient(b"no image").call(app)
            assert admission.held_bytes == 0

    asyncio.run(scenario())


def frame_start(size: int) -> bytes:
    """Return the head of a binary frame with the mask 0."""
    return b"\x82\xff" + size.to_bytes(8, "big") + bytes(4)


def test_a_stream_message_is_counted_while_it_arrives(server):
    url, admission = server
    with connect(url.replace("http", "ws") + "/ws") as slow, full(admission, 60 * KIB):
        slow.socket.sendall(frame_start(60 * KIB) + bytes(30 * KIB))
        wait_until(lambda: admission.held_bytes > 90 * KIB)
        slow.socket.sendall(bytes(20 * KIB))
        with pytest.raises(ConnectionClosed) as closed:
            slow.recv(timeout=30)
        assert closed.value.rcvd.code == 1013
        assert "try again" in closed.value.rcvd.reason or "bytes" in closed.value.rcvd.reason
    wait_until(lambda: admission.held_bytes == 0)


@pytest.mark.parametrize(("announced", "code"), [(4096 * KIB, 1009), (2048 * KIB, 1013)])
def test_a_close_code_arrives_although_the_client_still_sends(classifier, announced, code):
    app = create_app(Settings(deadline_ms=60_000, **LIMITS), classifier, FakeDetector())
    with serving(app, ws_max_size=2048 * KIB) as url, connected(url) as connection:
        connection.sendall(head("GET", "/ws", *WEBSOCKET_HANDSHAKE))
        assert receive_response(connection)[0] == 101
        connection.sendall(frame_start(announced) + bytes(2000 * KIB))
        frame = receive_all(connection)
    assert (frame[0], int.from_bytes(frame[2:4], "big")) == (0x88, code)


def test_frames_without_memory_are_refused_and_the_stream_continues(server):
    url, admission = server
    with connect(url.replace("http", "ws") + "/ws") as stream:
        with full(admission, 100 * KIB - 10):
            stream.send(PNG)
            assert '"overloaded"' in stream.recv(timeout=30)
        stream.send(PNG)
        assert '"emotion"' in stream.recv(timeout=30)
    wait_until(lambda: admission.held_bytes == 0)


def test_a_stream_message_that_does_not_arrive_in_time_ends_the_stream(classifier):
    app = create_app(Settings(deadline_ms=300), classifier, FakeDetector())
    with serving(app) as url, connect(url.replace("http", "ws") + "/ws") as slow:
        slow.send(PNG)
        slow.recv(timeout=30)
        time.sleep(0.5)  # a pause between messages has no limit
        slow.send(PNG)
        slow.recv(timeout=30)
        slow.socket.sendall(frame_start(1000) + bytes(500))
        with pytest.raises(ConnectionClosed) as closed:
            slow.recv(timeout=30)
        assert closed.value.rcvd.code == 1008
        wait_until(lambda: app.state.service.admission.held_bytes == 0)
