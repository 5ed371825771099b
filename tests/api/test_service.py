"""What surrounds predictions: ids, probes, info, metrics, CORS, documentation, concurrency."""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.contract.labels import LABELS
from tests.api.test_predict import stable
from tests.support.images import encoded, picture


@pytest.mark.parametrize("proposed", ["abc-123", "a" * 128, "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_request_id_plain_token_is_kept(client, proposed):
    assert client.get("/healthz", headers={"X-Request-ID": proposed}).headers["x-request-id"] == proposed


@pytest.mark.parametrize("proposed", ["", "a" * 129, "a b", 'x"y', "<script>"])
def test_request_id_anything_else_is_replaced(client, proposed):
    received = client.get("/healthz", headers={"X-Request-ID": proposed}).headers["x-request-id"]
    assert received != proposed
    assert len(received) == 32


def test_request_id_is_new_for_every_request(client):
    assert len({client.get("/healthz").headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/info", "/metrics", "/", "/web/main.js", "/docs", "/openapi.json"]
)
def test_head_is_answered_as_get_without_the_body(client, path):
    got, asked = client.get(path), client.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert path == "/metrics" or asked.headers["content-length"] == str(len(got.content))
    assert asked.headers["x-request-id"]


def test_head_is_logged_as_head_and_counted_under_its_route(client, caplog):
    caplog.set_level(logging.INFO, "app.access")
    client.head("/info")
    assert "HEAD /info 200" in caplog.text
    assert 'fer_requests_total{route="/info",status="200"} 1.0' in client.get("/metrics").text


def test_head_where_there_is_no_get_is_a_wrong_method(client):
    answer = client.head("/predict")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")
    assert client.post("/info").headers["allow"] == "GET, HEAD"


def test_healthz_and_readyz_answer_200(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_readyz_turns_unhealthy_when_the_model_keeps_failing_and_back(client, classifier):
    import numpy as np

    classifier.poison = 7
    for _ in range(3):
        assert client.get("/readyz").status_code == 200
        client.post("/predict?detect=false", content=encoded(np.full((48, 48), 7, np.uint8)))
    assert "model runs failed" in client.get("/readyz").json()["detail"]
    assert client.get("/healthz").status_code == 200
    client.post("/predict?detect=false", content=encoded(np.full((48, 48), 9, np.uint8)))
    assert client.get("/readyz").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_threads_that_work_go_behind_the_event_loop(client):
    client.post("/predict", content=encoded(picture(3))).raise_for_status()
    own = os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id)
    nice = {
        thread.name.partition("_")[0]: os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
    }
    assert (nice["vision"], nice["inference"]) == (own + 5, own + 5)
    assert {steps for name, steps in nice.items() if name not in {"vision", "inference"}} == {own}


def test_info_names_the_model_and_the_limits(make_client):
    body = make_client(max_images=7).get("/info").json()
    assert (body["name"], body["version"], body["provider"]) == ("fake", "2026.11.1", "FakeProvider")
    assert body["labels"] == list(LABELS)
    assert body["limits"]["max_images"] == 7
    assert set(body) >= {"sha256", "metrics", "temperature", "commit"}


def test_metrics_count_what_happened(client):
    client.post("/predict", content=encoded(picture(3)))
    client.get("/nothing-here")
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
        "fer_inflight_requests 1.0",  # this very request
        f'fer_model_info{{name="fake",provider="FakeProvider",sha256="{"0" * 64}",version="2026.11.1"}} 1.0',
    ):
        assert line in text, line
    total = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("fer_predictions_total"))
    assert total == 3
    assert "process_resident_memory_bytes" in text


def test_metrics_say_ready_as_readyz_does(make_client):
    client = make_client(deadline_ms=1500)
    readiness = client.app.state.service.readiness
    assert {"fer_ready 1.0", "fer_deadline_seconds 1.5"} <= set(client.get("/metrics").text.splitlines())
    readiness.drain()
    assert client.get("/readyz").status_code == 503
    assert "fer_ready 0.0" in client.get("/metrics").text.splitlines()


def test_metrics_speak_openmetrics_when_asked(client):
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    asked = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


def test_cors_only_for_the_configured_origins(make_client):
    client = make_client(cors_origins="https://good.example")
    good = client.get("/healthz", headers={"Origin": "https://good.example"})
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    bad = client.get("/healthz", headers={"Origin": "https://good.example.evil"})
    assert "access-control-allow-origin" not in bad.headers
    assert "access-control-allow-origin" not in make_client().get("/healthz", headers={"Origin": "https://a"}).headers


def test_docs_need_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text.replace("http://www.w3.org", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert asset in page.text
        assert client.get(f"/static-offline-docs/{asset}").status_code == 200


def test_predict_64_mixed_requests_in_parallel_answer_as_one_by_one(client):
    bodies = [encoded(picture(index % 13, seed=index)) for index in range(64)]
    alone = [stable(client.post("/predict", content=body).json()) for body in bodies]
    with ThreadPoolExecutor(64) as senders:
        together = list(senders.map(lambda body: stable(client.post("/predict", content=body).json()), bodies))
    assert together == alone


def test_access_log_has_the_request_but_nothing_of_the_image(client, caplog):
    with caplog.at_level(logging.INFO):
        client.post("/predict?max_faces=3", content=encoded(picture(1)), headers={"X-Request-ID": "seen"})
    (record,) = [record for record in caplog.records if record.name == "app.access"]
    assert (record.request_id, record.route, record.status) == ("seen", "/predict", 200)
    assert "happy" not in caplog.text


def test_prediction_asks_for_no_thread_but_those_of_the_pipeline(client, monkeypatch):
    handed_over = []

    async def recording(function, *arguments, **options):
        handed_over.append(function)
        return function(*arguments)

    monkeypatch.setattr("anyio.to_thread.run_sync", recording)
    assert client.post("/predict", content=encoded(picture(1))).status_code == 200
    assert client.post("/predict/batch", files=[("file", ("a.png", encoded(picture(1))))]).status_code == 200
    assert handed_over == []
