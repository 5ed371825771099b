"""More requests than can be answered in time: who is refused, when, and by what measure."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from app.api.guards import BURST_SHARE, STANDING_SHARE
from app.config import Settings
from app.errors import ErrorCode
from app.main import create_app
from app.server.cpus import available_cpus
from tests.api.test_disconnect import PNG, ScriptedClient, started
from tests.api.test_errors import assert_problem
from tests.support.fakes import FakeDetector
from tests.support.images import encoded, picture
from tests.support.server import serving


class Waits:
    """Stands for the pipeline's estimate; knows for what sizes it was asked."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)
        self.sizes: list[float] = []

    def __call__(self, size_bytes: float) -> float:
        self.sizes.append(size_bytes)
        return self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]


def with_waits(client, *seconds: float, stood_s: float = 0.0) -> Waits:
    waits = Waits(*seconds)
    client.app.state.service.engine.pipeline.standing_s = lambda size_bytes: stood_s
    client.app.state.service.engine.pipeline.wait_s = waits
    return waits


@pytest.mark.parametrize(
    ("stood_s", "longest_s", "named"),
    [(0.0, 2.0 * BURST_SHARE, "1.2 s"), (2.0 * BURST_SHARE + 0.01, 2.0 * STANDING_SHARE, "0.3 s")],
)
def test_predict_that_would_wait_too_long_is_overloaded(make_client, stood_s, longest_s, named):
    """A burst may wait for long; in a queue that has stood for longer than a burst lasts, nobody may."""
    client = make_client(deadline_ms=2000)
    with_waits(client, longest_s + 0.01, stood_s=stood_s)
    answer = client.post("/predict", content=PNG)
    body = assert_problem(answer, ErrorCode.OVERLOADED)
    assert f"{named} is accepted" in body["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    with_waits(client, longest_s - 0.01, stood_s=stood_s)
    assert client.post("/predict", content=PNG).status_code == 200
    assert client.app.state.service.admitted == 0


def test_overloaded_holds_for_every_way_to_send_images(make_client):
    client = make_client(deadline_ms=2000, api_keys="key")
    paths = [path for path, operations in client.app.openapi()["paths"].items() if "post" in operations]
    assert len(paths) > 2
    with_waits(client, math.inf)
    for path in paths:
        client.post(path.replace("{name}", "fake"), content=PNG, headers={"X-API-Key": "key"})
    # Their statuses are those of the services that they speak for; the reason is one.
    reasons = [line for line in client.get("/metrics").text.splitlines() if line.startswith("fer_rejections_total")]
    assert reasons == [f'fer_rejections_total{{reason="overloaded"}} {len(paths)}.0']


def test_wait_is_asked_for_the_declared_size(client):
    waits = with_waits(client, 0.0)
    client.post("/predict", content=PNG)
    client.post("/predict", content=iter([PNG]))  # in chunks: nobody knows how much will come
    assert waits.sizes == [len(PNG), math.inf]


def test_overloaded_is_answered_before_the_body_is_read():
    async def scenario():
        async with started() as app:
            app.state.service.engine.pipeline.wait_s = Waits(math.inf)
            client = ScriptedClient()
            await client.call(app)
            assert client.sent[0]["status"] == 503
            assert client.asked == 0

    asyncio.run(scenario())


def test_queue_that_grew_while_the_body_came_refuses_it():
    async def scenario():
        async with started() as app:
            waits = Waits(0.0, math.inf)
            app.state.service.engine.pipeline.wait_s = waits
            client = ScriptedClient(messages=3)
            await client.call(app)
            assert client.sent[0]["status"] == 503
            assert waits.sizes == [math.inf, len(PNG)]
            assert app.state.service.admitted == 0

    asyncio.run(scenario())


def test_request_that_holds_no_permit_is_not_refused_for_its_body(make_client):
    client = make_client(compat=False)
    with_waits(client, math.inf)
    assert client.post("/healthz", content=b"x").status_code == 405
    assert client.get("/info").status_code == 200


class SlowDetector(FakeDetector):
    """Takes its time, as a large photograph does."""

    def detect(self, grey):
        time.sleep(0.05)
        return super().detect(grey)


def test_overload_refuses_some_at_once_and_answers_the_others_in_time(classifier):
    cpus = available_cpus()
    count = 150 * cpus  # 7.5 s of work, of which a burst may wait for 3
    app = create_app(Settings(deadline_ms=5_000, max_queue=1000), classifier, SlowDetector())
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(count) as callers:

        def ask(_: int) -> tuple[int, str]:
            answer = client.post("/predict", content=PNG)
            return answer.status_code, answer.json().get("code", "")

        ask(0)  # from which the service learns what an image takes
        answers = list(callers.map(ask, range(count)))
        assert set(answers) == {(200, ""), (503, "overloaded")}
        assert ask(0) == (200, "")  # and it is over


def test_stream_frame_that_would_wait_too_long_is_overloaded(client):
    with_waits(client, math.inf)
    with client.websocket_connect("/ws") as stream:
        stream.send_bytes(encoded(picture(1)))
        assert stream.receive_json()["error"]["code"] == "overloaded"
        with_waits(client, 0.0)
        stream.send_bytes(encoded(picture(1)))
        assert stream.receive_json()["emotion"]


def test_overloaded_is_counted_under_its_route_and_a_wrong_key_is_still_unauthorized(make_client):
    client = make_client(api_keys="right", max_queue=1)
    client.app.state.service.admitted = 1
    statuses = [
        client.post("/predict", content=PNG, headers={"X-API-Key": key}).status_code for key in ("right", "wrong")
    ]
    client.app.state.service.admitted = 0
    assert statuses == [503, 401]
    text = client.get("/metrics").text
    assert 'fer_requests_total{route="/predict",status="503"} 1.0' in text
    assert 'fer_rejections_total{reason="overloaded"} 1.0' in text


def test_overloaded_compatible_api_answers_in_its_own_format(make_client):
    client = make_client(max_queue=1)
    client.app.state.service.admitted = 1
    native, compatible = (client.post(path, content=PNG) for path in ("/predict", "/face/v1.0/detect"))
    client.app.state.service.admitted = 0
    assert native.headers["content-type"] == "application/problem+json"
    assert compatible.headers["content-type"] == "application/json"
    assert native.headers["retry-after"] == compatible.headers["retry-after"]
