"""Load shedding over HTTP and WebSocket: which requests are refused, and when."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from app.api.admission import BACKLOG_SHARE, BURST_SHARE
from app.config import Settings
from app.errors import ErrorCode
from app.main import create_app
from tests.support.clients import ScriptedClient, running_app
from tests.support.fakes import FakeDetector
from tests.support.images import PNG
from tests.support.responses import assert_problem
from tests.support.server import serving


class ExpectedWaits:
    """Fake of `Engine.expected_wait_s`: returns the given waits in order, then the last one again.

    Attributes:
        sizes: Arguments of the calls.
    """

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)
        self.sizes: list[float] = []

    def __call__(self, size_bytes: float, bulk: bool) -> float:
        self.sizes.append(size_bytes)
        return self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]


def set_expected_waits(app, *seconds: float, backlog_age_s: float = 0.0) -> ExpectedWaits:
    waits = ExpectedWaits(*seconds)
    app.state.service.engine.backlog_age_s = lambda size_bytes, bulk: backlog_age_s
    app.state.service.engine.expected_wait_s = waits
    return waits


@pytest.mark.parametrize(
    ("backlog_age_s", "longest_s", "limit"),
    [(0.0, 2.0 * BURST_SHARE, "1.2 s"), (2.0 * BURST_SHARE + 0.01, 2.0 * BACKLOG_SHARE, "0.3 s")],
)
def test_predict_with_a_long_expected_wait_is_overloaded(make_client, backlog_age_s, longest_s, limit):
    """A short burst may wait longer than a request behind a persistent backlog."""
    client = make_client(deadline_ms=2000)
    set_expected_waits(client.app, longest_s + 0.01, backlog_age_s=backlog_age_s)
    response = client.post("/predict", content=PNG)
    body = assert_problem(response, ErrorCode.OVERLOADED)
    assert f"{limit} is accepted" in body["detail"]
    assert int(response.headers["retry-after"]) >= 1
    set_expected_waits(client.app, longest_s - 0.01, backlog_age_s=backlog_age_s)
    assert client.post("/predict", content=PNG).status_code == 200
    assert client.app.state.service.admission.permits == 0


def test_every_route_that_receives_images_is_refused_under_load(make_client):
    client = make_client(deadline_ms=2000, api_keys="key")
    paths = [path for path, operations in client.app.openapi()["paths"].items() if "post" in operations]
    assert len(paths) > 2
    set_expected_waits(client.app, math.inf)
    for path in paths:
        client.post(path.replace("{name}", "fake"), content=PNG, headers={"X-API-Key": "key"})
    # The routes of the compatible APIs have other statuses. The counted reason is the same.
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("fer_rejections_total")]
    counted = [line for line in lines if not line.endswith(" 0.0")]
    assert counted == [f'fer_rejections_total{{reason="overloaded"}} {len(paths)}.0']


def test_expected_wait_depends_on_the_declared_size(client):
    waits = set_expected_waits(client.app, 0.0)
    client.post("/predict", content=PNG)
    client.post("/predict", content=iter([PNG]))  # a chunked body declares no size
    assert waits.sizes == [len(PNG), math.inf]


def test_overloaded_request_is_refused_before_its_body_is_read():
    async def scenario():
        async with running_app() as app:
            set_expected_waits(app, math.inf)
            client = ScriptedClient()
            await client.call(app)
            assert client.sent[0]["status"] == 503
            assert client.receive_calls == 0

    asyncio.run(scenario())


def test_expected_wait_is_checked_again_after_a_body_in_pieces():
    async def scenario():
        async with running_app() as app:
            waits = set_expected_waits(app, 0.0, math.inf)
            client = ScriptedClient(messages=3)
            await client.call(app)
            assert client.sent[0]["status"] == 503
            assert waits.sizes == [math.inf, len(PNG)]
            assert app.state.service.admission.permits == 0

    asyncio.run(scenario())


def test_requests_that_need_no_permit_are_answered_under_load(make_client):
    client = make_client(compat=False)
    set_expected_waits(client.app, math.inf)
    assert client.post("/healthz", content=b"x").status_code == 405
    assert client.get("/info").status_code == 200


class SlowDetector(FakeDetector):
    """Detector that takes as long as for a large photograph."""

    def detect(self, grey):
        time.sleep(0.1)
        return super().detect(grey)


def test_overload_refuses_some_requests_and_answers_the_others_within_the_deadline(classifier, monkeypatch):
    monkeypatch.setattr("app.main.available_cpus", lambda: 1)
    app = create_app(Settings(deadline_ms=5_000, max_queue=1000), classifier, SlowDetector())
    count = 60  # 6 s of work for one thread; a burst may wait for 3 s
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(count) as threads:

        def predict(_: int) -> tuple[int, str]:
            response = client.post("/predict", content=PNG)
            return response.status_code, response.json().get("code", "")

        predict(0)  # the service measures the cost of an image
        outcomes = list(threads.map(predict, range(count)))
        assert set(outcomes) == {(200, ""), (503, "overloaded")}
        assert predict(0) == (200, "")  # the overload has ended


def test_stream_frame_with_a_long_expected_wait_is_overloaded(client):
    set_expected_waits(client.app, math.inf)
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(PNG)
        assert stream.receive_json()["error"]["code"] == "overloaded"
        set_expected_waits(client.app, 0.0)
        stream.send_bytes(PNG)
        assert stream.receive_json()["emotion"]


def test_overloaded_is_counted_under_its_route_and_a_wrong_key_is_unauthorized(make_client):
    client = make_client(api_keys="right", max_queue=1)
    with client.app.state.service.admission.acquire(0):
        statuses = [
            client.post("/predict", content=PNG, headers={"X-API-Key": key}).status_code for key in ("right", "wrong")
        ]
    assert statuses == [503, 401]
    text = client.get("/metrics").text
    assert 'fer_requests_total{route="/predict",status="503"} 1.0' in text
    assert 'fer_rejections_total{reason="overloaded"} 1.0' in text
