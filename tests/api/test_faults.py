"""Injected faults: other requests are answered, and readiness reports the fault."""

from __future__ import annotations

import threading
import time

import httpx2
import numpy as np
import pytest

from app.config import Settings
from app.engine.watchdog import HungError
from app.inference.batcher import BatcherStoppedError
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import PNG, encoded, picture
from tests.support.responses import stable_fields
from tests.support.server import serving
from tests.support.waiting import wait_until

HANGING_SHAPE = (80, 160)  # of an image whose detection hangs


class HangingDetector(FakeDetector):
    """Detector that hangs on images of one shape until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def detect(self, grey):
        if grey.shape == HANGING_SHAPE:
            assert self.released.wait(120)
        return super().detect(grey)


def test_hung_vision_thread_is_reported_and_other_requests_are_answered(monkeypatch):
    monkeypatch.setattr("app.main.available_cpus", lambda: 2)
    monkeypatch.setattr("app.engine.engine._HUNG_AFTER_DEADLINES", 1)
    fatal: list[Exception] = []
    detector = HangingDetector()
    app = create_app(Settings(deadline_ms=1500), FakeClassifier(), detector, on_fatal=fatal.append)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        try:
            before = stable_fields(client.post("/predict", content=PNG).json())
            hung = client.post("/predict", content=encoded(picture(1, columns=4, rows=2)))
            assert (hung.status_code, hung.json()["code"]) == (504, "deadline_exceeded")
            assert stable_fields(client.post("/predict", content=PNG).json()) == before
            wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
            assert "a thread has been at one piece of work" in client.get("/readyz").json()["detail"]
            assert stable_fields(client.post("/predict", content=PNG).json()) == before
            assert client.get("/readyz").status_code == 503  # a successful request does not end this state
            assert client.get("/healthz").status_code == 200
            assert [type(error) for error in fatal] == [HungError]
        finally:
            detector.released.set()


def test_hung_model_run_is_reported():
    classifier = FakeClassifier()
    classifier.released.clear()
    fatal: list[Exception] = []
    app = create_app(Settings(deadline_ms=200), classifier, FakeDetector(), on_fatal=fatal.append)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        while app.state.service.engine.model.batcher.running is None:  # a request may expire before its run
            assert client.post("/predict", content=PNG).status_code == 504
        wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
        classifier.released.set()
        assert [type(error) for error in fatal] == [HungError]


def test_dead_batch_loop_is_reported_and_its_faces_fail_at_once(monkeypatch):
    fatal: list[Exception] = []
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), FakeDetector(), on_fatal=fatal.append)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        assert client.post("/predict", content=PNG).status_code == 200
        batcher = app.state.service.engine.model.batcher
        monkeypatch.setattr(batcher, "_next_batch", lambda: 1 / 0)
        response = client.post("/predict", content=PNG)
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert "the batch loop died" in client.get("/readyz").json()["detail"]
        assert client.post("/predict", content=PNG).status_code == 503
        assert client.get("/healthz").status_code == 200
        assert [type(error) for error in fatal] == [BatcherStoppedError]


@pytest.mark.parametrize("jump_s", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_jump_of_the_clock_changes_no_prediction_and_no_duration(client, monkeypatch, jump_s):
    before = stable_fields(client.post("/predict", content=PNG).json())
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    monkeypatch.setattr(time, "time_ns", lambda: time.time() * 1e9)
    response = client.post("/predict", content=PNG).json()
    assert stable_fields(response) == before
    assert all(0 <= milliseconds < 60_000 for milliseconds in response["timings_ms"].values())
    assert client.get("/readyz").status_code == 200


def test_failed_model_run_fails_only_its_own_request(client, classifier):
    classifier.poison = 7
    poisoned, valid = (encoded(np.full((48, 48), level, np.uint8)) for level in (7, 90))
    statuses = [client.post("/predict?detect=false", content=data).status_code for data in (valid, poisoned, valid)]
    assert statuses == [200, 500, 200]
