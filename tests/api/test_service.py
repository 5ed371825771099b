"""The service around the predictions: request ids, HEAD, probes, info, metrics, CORS, documentation, concurrency."""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.contract.labels import LABELS
from tests.support.images import PNG, encoded, picture
from tests.support.responses import stable_fields


@pytest.mark.parametrize("proposed", ["abc-123", "a" * 128, "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_request_id_keeps_a_plain_token(client, proposed):
    assert client.get("/healthz", headers={"X-Request-ID": proposed}).headers["x-request-id"] == proposed


@pytest.mark.parametrize("proposed", ["", "a" * 129, "a b", 'x"y', "<script>"])
def test_request_id_replaces_any_other_value(client, proposed):
    received = client.get("/healthz", headers={"X-Request-ID": proposed}).headers["x-request-id"]
    assert received != proposed
    assert len(received) == 32


def test_request_id_differs_for_each_request(client):
    assert len({client.get("/healthz").headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/info", "/metrics", "/", "/web/main.js", "/docs", "/openapi.json"]
)
def test_head_returns_the_headers_of_get_without_a_body(client, path):
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert path == "/metrics" or head.headers["content-length"] == str(len(get.content))
    assert head.headers["x-request-id"]


def test_head_is_logged_as_head_and_counted_under_its_route(client, caplog):
    caplog.set_level(logging.INFO, "app.access")
    client.head("/info")
    assert "HEAD /info 200" in caplog.text
    assert 'fer_requests_total{route="/info",status="200"} 1.0' in client.get("/metrics").text


def test_head_of_a_path_without_get_is_method_not_allowed(client):
    response = client.head("/predict")
    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST", b"")
    assert client.post("/info").headers["allow"] == "GET, HEAD"


def test_healthz_and_readyz_return_200(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_readyz_is_unhealthy_after_three_failed_runs_until_a_run_succeeds(client, classifier):
    classifier.poison = 7
    for _ in range(3):
        assert client.get("/readyz").status_code == 200
        client.post("/predict?detect=false", content=encoded(np.full((48, 48), 7, np.uint8)))
    assert "model runs failed" in client.get("/readyz").json()["detail"]
    assert client.get("/healthz").status_code == 200
    client.post("/predict?detect=false", content=encoded(np.full((48, 48), 9, np.uint8)))
    assert client.get("/readyz").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has thread priorities")
def test_vision_and_inference_threads_have_a_lower_priority(client):
    client.post("/predict", content=encoded(picture(3))).raise_for_status()
    normal = os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id)
    niceness = {
        thread.name.partition("_")[0]: os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
    }
    assert (niceness.pop("vision"), niceness.pop("inference")) == (normal + 5, normal + 5)
    assert set(niceness.values()) == {normal}
    batch = {
        thread.name.partition("_")[0]
        for thread in threading.enumerate()
        if os.sched_getscheduler(thread.native_id) == os.SCHED_BATCH
    }
    assert batch == {"vision", "inference"}


def test_info_returns_the_model_and_the_limits(make_client):
    body = make_client(max_images=7).get("/info").json()
    assert (body["name"], body["version"], body["provider"]) == ("fake", "2026.11.1", "FakeProvider")
    assert body["labels"] == list(LABELS)
    assert body["limits"]["max_images"] == 7
    assert set(body) >= {"sha256", "metrics", "temperature", "commit"}


def test_metrics_count_requests_stages_and_faces(client):
    client.post("/predict", content=encoded(picture(3)))
    client.get("/no-such-path")
    text = client.get("/metrics").text
    for line in (
        'fer_requests_total{route="/predict",status="200"} 1.0',
        'fer_requests_total{route="unmatched",status="404"} 1.0',
        'fer_request_duration_seconds_count{route="/predict"} 1.0',
        'fer_stage_duration_seconds_count{stage="decode"} 1.0',
        'fer_stage_duration_seconds_count{stage="infer"} 1.0',
        "fer_faces_per_image_sum 3.0",
        "fer_batch_size_sum 3.0",
        "fer_confidence_count 3.0",
        "fer_queue_depth 0.0",
        "fer_inflight_requests 1.0",  # this request
        f'fer_model_info{{name="fake",provider="FakeProvider",sha256="{"0" * 64}",version="2026.11.1"}} 1.0',
    ):
        assert line in text, line
    total = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("fer_predictions_total"))
    assert total == 3
    assert "process_resident_memory_bytes" in text


def test_metrics_have_the_readiness_and_the_deadline(make_client):
    client = make_client(deadline_ms=1500)
    readiness = client.app.state.service.readiness
    assert {"fer_ready 1.0", "fer_deadline_seconds 1.5"} <= set(client.get("/metrics").text.splitlines())
    readiness.drain()
    assert client.get("/readyz").status_code == 503
    assert "fer_ready 0.0" in client.get("/metrics").text.splitlines()


def test_metrics_use_openmetrics_on_request(client):
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    negotiated = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert negotiated.headers["content-type"].startswith("application/openmetrics-text")
    assert negotiated.text.endswith("# EOF\n")


def test_cors_allows_only_configured_origins(make_client):
    client = make_client(cors_origins="https://good.example")
    good = client.get("/healthz", headers={"Origin": "https://good.example"})
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    bad = client.get("/healthz", headers={"Origin": "https://good.example.evil"})
    assert "access-control-allow-origin" not in bad.headers
    assert "access-control-allow-origin" not in make_client().get("/healthz", headers={"Origin": "https://a"}).headers


def test_docs_load_nothing_from_other_hosts(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text.replace("http://www.w3.org", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert asset in page.text
        assert client.get(f"/static-offline-docs/{asset}").status_code == 200


def test_predict_returns_the_same_for_64_requests_in_parallel_and_in_sequence(client):
    def predict(body: bytes) -> dict:
        return stable_fields(client.post("/predict", content=body).json())

    bodies = [encoded(picture(index % 13, seed=index)) for index in range(64)]
    in_sequence = [predict(body) for body in bodies]
    with ThreadPoolExecutor(64) as threads:
        in_parallel = list(threads.map(predict, bodies))
    assert in_parallel == in_sequence


def test_access_log_has_the_request_and_nothing_of_the_image(client, caplog):
    with caplog.at_level(logging.INFO):
        client.post("/predict?max_faces=3", content=PNG, headers={"X-Request-ID": "logged"})
    (record,) = [record for record in caplog.records if record.name == "app.access"]
    assert (record.request_id, record.route, record.status) == ("logged", "/predict", 200)
    assert "happy" not in caplog.text


def test_predict_uses_no_threads_of_the_framework(client, monkeypatch):
    functions = []

    async def run_sync(function, *arguments, **options):
        functions.append(function)
        return function(*arguments)

    monkeypatch.setattr("anyio.to_thread.run_sync", run_sync)
    assert client.post("/predict", content=PNG).status_code == 200
    assert client.post("/predict/batch", files=[("file", ("a.png", PNG))]).status_code == 200
    assert functions == []


def test_info_names_the_detector(client):
    assert client.get("/info").json()["detector"] == "haar"
