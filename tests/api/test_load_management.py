"""The request headers of load management: priority and the timeout of the caller; the limit per API key."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from app.config import Settings
from app.errors import ErrorCode
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import PNG, encoded, picture
from tests.support.responses import assert_problem
from tests.support.server import serving


def record_demands(app) -> list[tuple[bool, float, str]]:
    """Record the demands of all requests: bulk, timeout in seconds, caller."""
    demands = []
    admission = app.state.service.admission
    acquire = admission.acquire

    def record(size_bytes, *, bulk=False, timeout_s=math.inf, caller=""):
        demands.append((bulk, timeout_s, caller))
        return acquire(size_bytes, bulk=bulk, timeout_s=timeout_s, caller=caller)

    admission.acquire = record
    return demands


@pytest.mark.parametrize(
    ("priority", "bulk"),
    [
        (None, False),
        ("u=3", False),
        ("u=0", False),
        ("u=4", True),
        ("i, u=7", True),
        ("u=5;x=1, i", True),
        ("u=5, u=1", False),  # the last member counts
        ("u=8", False),
        ("u=-1", False),
        ("u=5.0", False),
        ("u", False),
        ("urgent", False),
        ("U=7", False),
    ],
)
def test_priority_header_makes_bulk_work(make_client, priority, bulk):
    client = make_client()
    demands = record_demands(client.app)
    headers = {} if priority is None else {"Priority": priority}
    assert client.post("/predict", content=PNG, headers=headers).status_code == 200
    assert client.post("/predict/batch", files=[("file", PNG)], headers=headers).status_code == 200
    assert [demand[0] for demand in demands] == [bulk, bulk]


@pytest.mark.parametrize("header", ["X-Request-Timeout-Ms", "X-Envoy-Expected-Rq-Timeout-Ms"])
def test_timeout_header_shortens_the_deadline_only(make_client, header):
    client = make_client(deadline_ms=60_000)  # long, so that a busy machine does not use it up before the permit
    demands = record_demands(client.app)
    for value in ("500", "999999"):
        assert client.post("/predict", content=PNG, headers={header: value}).status_code == 200
    assert demands[0][1] == pytest.approx(0.5)
    assert 30 < demands[1][1] <= 60


@pytest.mark.parametrize("value", ["0", "-5", "soon", "1.5", "", "9" * 400])
def test_invalid_timeout_header_is_an_invalid_parameter(make_client, value):
    client = make_client()
    response = client.post("/predict", content=PNG, headers={"X-Request-Timeout-Ms": value})
    assert "x-request-timeout-ms" in assert_problem(response, ErrorCode.INVALID_PARAMETER)["detail"].lower()


def test_request_that_expires_in_the_queue_is_never_run(monkeypatch):
    monkeypatch.setattr("app.main.available_cpus", lambda: 1)
    started, release = threading.Event(), threading.Event()

    class BlockedDetector(FakeDetector):
        calls = 0

        def detect(self, grey):
            type(self).calls += 1
            started.set()
            assert release.wait(10)
            return super().detect(grey)

    app = create_app(Settings(deadline_ms=20_000), FakeClassifier(), BlockedDetector())
    with serving(app) as url, httpx2.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.post, "/predict", content=PNG)
        assert started.wait(10)
        late = client.post("/predict", content=PNG, headers={"X-Request-Timeout-Ms": "100"})
        assert_problem(late, ErrorCode.DEADLINE_EXCEEDED)
        release.set()
        assert first.result().status_code == 200
        assert client.post("/predict", content=PNG).status_code == 200
    assert BlockedDetector.calls == 2


def test_requests_in_progress_are_limited_per_key(make_client):
    client = make_client(api_keys="first,second", max_inflight_per_key=1)
    with client.app.state.service.admission.acquire(1, caller="first"):
        refused = client.post("/predict", content=PNG, headers={"Authorization": "Bearer first"})
        assert "this API key" in assert_problem(refused, ErrorCode.OVERLOADED)["detail"]
        assert "first" not in refused.text
        assert client.post("/predict", content=PNG, headers={"X-API-Key": "second"}).status_code == 200


@pytest.mark.parametrize("limits", [{"max_queue": 1}, {"max_batch": 1}, {"max_queue": 1, "max_batch": 1}])
def test_smallest_limits_give_only_200_and_503(limits):
    app = create_app(Settings(**limits), FakeClassifier(), FakeDetector())
    with serving(app) as url, httpx2.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(8) as threads:
        statuses = [
            response.status_code for response in threads.map(lambda _: client.post("/predict", content=PNG), range(80))
        ]
        metrics = client.get("/metrics").text
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 0
    batches = [line for line in metrics.splitlines() if line.startswith("fer_batch_size_bucket")]
    counts = {line.split("le=")[1].split("}")[0].strip('"'): float(line.rsplit(" ", 1)[1]) for line in batches}
    if limits.get("max_batch") == 1:
        assert counts["1.0"] == counts["+Inf"] > 0


def test_a_model_run_has_at_most_max_batch_faces():
    classifier = FakeClassifier()
    app = create_app(Settings(max_batch=3), classifier, FakeDetector())
    group = encoded(picture(7))
    headers = [{"Priority": priority} for priority in ("u=3", "u=7")]
    with serving(app) as url, httpx2.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(8) as threads:

        def send(number):
            return client.post("/predict", content=group, headers=headers[number % 2]).json()

        answers = list(threads.map(send, range(40)))
        metrics = client.get("/metrics").text.splitlines()
    assert {len(answer["faces"]) for answer in answers} == {7}
    assert max(classifier.batches) == 3
    (observed,) = [float(line.split()[-1]) for line in metrics if line.startswith("fer_batch_size_sum")]
    assert observed == sum(classifier.batches) == 40 * 7
