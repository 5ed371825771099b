"""Clients that leave before they are answered: what waits for them is dropped, and their permit is given back."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx2
import pytest

from app.config import Settings
from app.main import create_app
from tests.api.test_errors import wait_until
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import encoded, picture
from tests.support.server import serving

PNG = encoded(picture(1))


class HeldDetector(FakeDetector):
    """Finds nothing before it is released; knows how many images it saw."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.seen = 0

    def detect(self, grey):
        self.seen += 1
        assert self.released.wait(30)
        return super().detect(grey)


def sent(url: str, path: str = "/predict", body: bytes = PNG) -> socket.socket:
    """A request on a connection of its own, not yet answered."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head if body[:1] == b"{" else head.replace("application/json", "image/png")).encode() + body)
    return connection


def counted(url: str, line: str) -> bool:
    return line in httpx2.get(f"{url}/metrics").text.splitlines()


def test_client_that_leaves_frees_its_permit_and_its_faces_are_not_run(make_server, classifier):
    url = make_server(max_queue=2)
    classifier.released.clear()
    stays = sent(url)
    wait_until(lambda: counted(url, 'fer_stage_duration_seconds_count{stage="decode"} 1.0'))
    wait_until(lambda: counted(url, "fer_inflight_requests 2.0"))  # the second is the one that asks
    leaves = sent(url, body=encoded(picture(7)))
    wait_until(lambda: counted(url, "fer_queue_depth 7.0"))
    refused = httpx2.post(f"{url}/predict", content=PNG)
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    leaves.close()
    wait_until(lambda: counted(url, 'fer_requests_total{route="/predict",status="499"} 1.0'))
    follows = sent(url)  # has the permit of the one that left
    wait_until(lambda: counted(url, "fer_inflight_requests 3.0"))
    classifier.released.set()
    for connection in (stays, follows):
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.close()
    assert classifier.batches == [1, 1]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_client_that_leaves_takes_its_images_out_of_the_vision_queue(path):
    detector = HeldDetector()
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), detector)
    body = json.dumps({"images": [base64.b64encode(PNG).decode()] * 8}).encode() if path.endswith("batch") else PNG
    with serving(app) as url:
        try:
            service = app.state.service
            stay = [sent(url) for _ in range(16)]
            wait_until(lambda: service.admission.permits == 16)
            leave = [sent(url, path, body) for _ in range(16)]
            wait_until(lambda: service.admission.permits == 32)
            for connection in leave:
                connection.close()
            wait_until(lambda: service.admission.permits == 16)
        finally:
            detector.released.set()
        for connection in stay:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.close()
    assert detector.seen == 16


@asynccontextmanager
async def started(detector=None, **settings):
    app = create_app(Settings(**({"deadline_ms": 60_000} | settings)), FakeClassifier(), detector or FakeDetector())
    async with app.router.lifespan_context(app):
        yield app


class ScriptedClient:
    """One request by hand: its body in so many messages, then silence until `leave`."""

    def __init__(self, body: bytes = PNG, messages: int = 1) -> None:
        step = -(-len(body) // messages)
        self._messages = [body[at : at + step] for at in range(0, len(body), step)]
        self._gone = asyncio.Event()
        self.asked = 0
        self.sent: list[dict] = []

    def leave(self) -> None:
        self._gone.set()

    async def call(self, app) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/predict",
            "raw_path": b"/predict",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"image/png")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> dict:
        self.asked += 1
        if self._messages:
            body = self._messages.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._messages)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict) -> None:
        self.sent.append(message)


def test_client_that_stays_is_answered_and_its_body_is_read_whole():
    async def scenario():
        async with started() as app:
            client = ScriptedClient(messages=5)
            await client.call(app)
            assert client.sent[0]["status"] == 200
            assert client._messages == []

    asyncio.run(scenario())


def test_client_is_watched_only_while_its_answer_takes_long():
    async def scenario():
        detector = HeldDetector()
        async with started(detector) as app:
            client = ScriptedClient()
            request = asyncio.create_task(client.call(app))
            while client.asked < 2:  # the body, then whether the client is still there
                await asyncio.sleep(0.001)
            detector.released.set()
            await request
            assert client.sent[0]["status"] == 200
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            client.leave()
            await asyncio.sleep(0.05)
            assert not any("leaving" in repr(task) for task in tasks if not task.done())

    asyncio.run(scenario())


def test_client_that_leaves_ends_the_call_without_an_answer_and_without_an_error(caplog):
    async def scenario():
        detector = HeldDetector()
        async with started(detector) as app:
            client = ScriptedClient()
            request = asyncio.create_task(client.call(app))
            while client.asked < 2:
                await asyncio.sleep(0.001)
            assert app.state.service.admission.permits == 1
            client.leave()
            await request  # no CancelledError: the task of the connection lives on
            assert client.sent == []
            assert app.state.service.admission.permits == 0
            detector.released.set()

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


def test_server_that_cancels_a_request_is_obeyed():
    async def scenario():
        detector = HeldDetector()
        async with started(detector) as app:
            client = ScriptedClient()
            request = asyncio.create_task(client.call(app))
            while client.asked < 2:
                await asyncio.sleep(0.001)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert app.state.service.admission.permits == 0
            detector.released.set()

    asyncio.run(scenario())
