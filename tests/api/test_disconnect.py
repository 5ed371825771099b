"""Clients that disconnect before the response: their work is dropped and their permit is released."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from tests.support.clients import ScriptedClient, running_app
from tests.support.fakes import BlockingDetector, FakeClassifier
from tests.support.images import PNG, encoded, picture
from tests.support.server import serving
from tests.support.waiting import wait_until


def send_request(url: str, path: str = "/predict", body: bytes = PNG) -> socket.socket:
    """Send a request on a new connection; return the connection before the response arrives."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head if body[:1] == b"{" else head.replace("application/json", "image/png")).encode() + body)
    return connection


def has_metric(url: str, line: str) -> bool:
    return line in httpx2.get(f"{url}/metrics").text.splitlines()


def test_disconnect_releases_the_permit_and_removes_the_faces_from_the_queue(make_server, classifier):
    url = make_server(max_queue=2)
    classifier.released.clear()
    first = send_request(url)
    wait_until(lambda: has_metric(url, 'fer_stage_duration_seconds_count{stage="decode"} 1.0'))
    wait_until(lambda: has_metric(url, "fer_inflight_requests 2.0"))  # with the request for the metrics
    disconnected = send_request(url, body=encoded(picture(7)))
    wait_until(lambda: has_metric(url, "fer_queue_depth 7.0"))
    refused = httpx2.post(f"{url}/predict", content=PNG)
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    disconnected.close()
    wait_until(lambda: has_metric(url, 'fer_requests_total{route="/predict",status="499"} 1.0'))
    second = send_request(url)  # acquires the released permit
    wait_until(lambda: has_metric(url, "fer_inflight_requests 3.0"))
    classifier.released.set()
    for connection in (first, second):
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.close()
    assert classifier.batches == [1, 1]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_disconnect_removes_the_images_from_the_vision_queue(path):
    detector = BlockingDetector()
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), detector)
    body = json.dumps({"images": [base64.b64encode(PNG).decode()] * 8}).encode() if path.endswith("batch") else PNG
    with serving(app) as url:
        try:
            service = app.state.service
            connected = [send_request(url) for _ in range(16)]
            wait_until(lambda: service.admission.permits == 16)
            disconnected = [send_request(url, path, body) for _ in range(16)]
            wait_until(lambda: service.admission.permits == 32)
            for connection in disconnected:
                connection.close()
            wait_until(lambda: service.admission.permits == 16)
        finally:
            detector.released.set()
        for connection in connected:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.close()
    assert detector.calls == 16


async def until_watched(client: ScriptedClient) -> None:
    """Wait until the application has received the body and waits for the disconnect."""
    while client.receive_calls < 2:
        await asyncio.sleep(0.001)


def test_body_in_several_messages_is_received_whole():
    async def scenario():
        async with running_app() as app:
            client = ScriptedClient(messages=5)
            await client.call(app)
            assert client.sent[0]["status"] == 200
            assert client.unread == []

    asyncio.run(scenario())


def test_client_is_not_watched_after_the_response():
    async def scenario():
        detector = BlockingDetector()
        async with running_app(detector) as app:
            client = ScriptedClient()
            request = asyncio.create_task(client.call(app))
            await until_watched(client)
            detector.released.set()
            await request
            assert client.sent[0]["status"] == 200
            watchers = [task for task in asyncio.all_tasks() if "_await_disconnect" in repr(task)]
            await asyncio.sleep(0.05)  # the cancelled watcher ends
            assert [task for task in watchers if not task.done()] == []

    asyncio.run(scenario())


def test_disconnect_ends_the_call_without_a_response_and_without_an_error(caplog):
    async def scenario():
        detector = BlockingDetector()
        async with running_app(detector) as app:
            client = ScriptedClient()
            request = asyncio.create_task(client.call(app))
            await until_watched(client)
            assert app.state.service.admission.permits == 1
            client.disconnect()
            await request  # does not raise CancelledError, because the task of the connection must continue
            assert client.sent == []
            assert app.state.service.admission.permits == 0
            detector.released.set()

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


def test_cancellation_by_the_server_ends_the_request():
    async def scenario():
        detector = BlockingDetector()
        async with running_app(detector) as app:
            client = ScriptedClient()
            request = asyncio.create_task(client.call(app))
            await until_watched(client)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert app.state.service.admission.permits == 0
            detector.released.set()

    asyncio.run(scenario())


def test_slow_reader_of_the_response_holds_no_permit():
    async def scenario():
        async with running_app() as app:
            client = ScriptedClient(reads_response=False)
            request = asyncio.create_task(client.call(app))
            while not client.sent:
                await asyncio.sleep(0.001)
            assert client.sent[0]["status"] == 200
            assert app.state.service.admission.permits == 0
            assert not request.done()
            client.disconnect()
            await request

    asyncio.run(scenario())
