"""nginx and HAProxy in front of `python -m app`: refusals arrive, kept connections, prefix, addresses of callers.

Both are Debian packages: `apt-get install nginx haproxy`.
"""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.support.images import ASTRONAUT
from tests.support.process import service_process
from tests.support.proxies import is_installed, proxy
from tests.support.waiting import wait_until

TIMES = 10
LARGE = bytes(8_000_000)
LOCATIONS = [("nginx", "/"), ("nginx", "/unbuffered/"), ("nginx", "/faces/"), ("haproxy", "/")]
REFUSALS = {
    "unauthorized": (401, "predict", {"X-API-Key": "wrong"}, LARGE),
    "too large": (413, "predict", {"X-API-Key": "secret"}, bytes(30_000_000)),
    "bad option": (422, "predict?max_faces=x", {"X-API-Key": "secret"}, LARGE),
    "method": (405, "healthz", {}, LARGE),
    "missing": (404, "nothing", {}, LARGE),
}


@pytest.fixture(scope="module")
def service():
    with service_process(FER_API_KEYS="secret") as (client, _):
        yield client


@pytest.fixture(scope="module")
def proxies(service, tmp_path_factory):
    started = {}

    def url_of(name: str) -> str:
        if not is_installed(name):
            pytest.skip(f"{name} is not installed")
        if name not in started:
            started[name] = proxy(name, service.base_url.port, tmp_path_factory.mktemp(name))
            started[name] = (started[name], started[name].__enter__())
        return started[name][1]

    yield url_of
    for context, _ in started.values():
        context.__exit__(None, None, None)


@pytest.mark.parametrize(("name", "location"), LOCATIONS)
@pytest.mark.parametrize("refusal", REFUSALS)
def test_early_refusal_arrives_through_a_proxy(proxies, name, location, refusal):
    status, path, headers, body = REFUSALS[refusal]
    url = proxies(name) + location + path
    statuses = Counter(httpx2.post(url, content=body, headers=headers).status_code for _ in range(TIMES))
    assert statuses == {status: TIMES}


@pytest.mark.parametrize(("name", "location"), LOCATIONS)
def test_overload_arrives_with_retry_after_through_a_proxy(name, location, tmp_path):
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    photograph = ASTRONAUT.read_bytes() + LARGE  # bytes after the end of a JPEG are ignored
    with (
        service_process(FER_MAX_QUEUE="1") as (client, _),
        proxy(name, client.base_url.port, tmp_path) as url,
        ThreadPoolExecutor(8) as threads,
    ):
        answers = list(threads.map(lambda _: httpx2.post(url + location + "predict", content=photograph), range(40)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}


@pytest.mark.parametrize(("name", "location"), LOCATIONS)
def test_no_request_is_lost_when_the_service_drains(name, location, tmp_path):
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    photograph = ASTRONAUT.read_bytes()
    with service_process(FER_DRAIN_S="2") as (client, process), proxy(name, client.base_url.port, tmp_path) as url:
        ended = threading.Event()
        statuses: list[int] = []

        def predict_repeatedly() -> None:
            with httpx2.Client(timeout=30) as caller:
                while not ended.is_set():
                    statuses.append(caller.post(url + location + "predict", content=photograph).status_code)

        with ThreadPoolExecutor(4) as threads:
            callers = [threads.submit(predict_repeatedly) for _ in range(4)]
            wait_until(lambda: len(statuses) > 8, seconds=60)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: client.get("/readyz").status_code == 503)
            answered = len(statuses)
            wait_until(lambda: len(statuses) > answered + 8)
            ended.set()
            for caller in callers:
                caller.result(timeout=30)
        assert process.wait(30) == 0
    assert set(statuses) == {200}


def test_prefix_and_forwarded_address_behind_nginx(tmp_path):
    if not is_installed("nginx"):
        pytest.skip("nginx is not installed")
    settings = {"FER_ROOT_PATH": "/faces", "FER_TRUSTED_PROXIES": "127.0.0.1", "FER_LOG_CLIENT": "true"}
    with service_process(**settings) as (client, process), proxy("nginx", client.base_url.port, tmp_path) as url:
        document = httpx2.get(f"{url}/faces/openapi.json").json()
        assert document["servers"] == [{"url": "/faces"}]
        assert "/faces/openapi.json" in httpx2.get(f"{url}/faces/docs").text
        assert httpx2.get(f"{url}/faces/static-offline-docs/swagger-ui.css").status_code == 200
        assert "fer-serve" in httpx2.get(f"{url}/faces/").text
        assert httpx2.get(f"{url}/faces/info", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        records = [json.loads(line) for line in process.stderr.read().splitlines()]
    # nginx appends the address of its peer, 127.0.0.1, which is trusted. The one before it is the caller.
    assert [record["client"] for record in records if record.get("route") == "/info"] == ["203.0.113.9"]
