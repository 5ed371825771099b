"""Faults put into the running service: neighbours are answered, readiness tells the truth."""

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
from tests.api.test_errors import wait_until
from tests.api.test_predict import stable
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import encoded, picture
from tests.support.server import serving

PNG = encoded(picture(1))
TRAP = (80, 160)  # the size of a picture that hangs its thread


class HangingDetector(FakeDetector):
    """Never comes back from one picture before it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def detect(self, grey):
        if grey.shape == TRAP:
            assert self.released.wait(120)
        return super().detect(grey)


def test_vision_thread_that_hangs_is_told_and_neighbours_are_answered(monkeypatch):
    monkeypatch.setattr("app.main.available_cpus", lambda: 2)
    fatal: list[Exception] = []
    detector = HangingDetector()
    app = create_app(Settings(deadline_ms=1500), FakeClassifier(), detector, on_fatal=fatal.append)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        try:
            before = stable(client.post("/predict", content=PNG).json())
            hung = client.post("/predict", content=encoded(picture(1, columns=4, rows=2)))
            assert (hung.status_code, hung.json()["code"]) == (504, "deadline_exceeded")
            assert stable(client.post("/predict", content=PNG).json()) == before
            wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
            assert "a thread has been at one piece of work" in client.get("/readyz").json()["detail"]
            assert stable(client.post("/predict", content=PNG).json()) == before
            assert client.get("/readyz").status_code == 503  # a neighbour's success heals nothing
            assert client.get("/healthz").status_code == 200
            assert [type(error) for error in fatal] == [HungError]
        finally:
            detector.released.set()


def test_model_that_hangs_is_told(monkeypatch):
    classifier = FakeClassifier()
    classifier.released.clear()
    fatal: list[Exception] = []
    app = create_app(Settings(deadline_ms=200), classifier, FakeDetector(), on_fatal=fatal.append)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        while app.state.service.engine.model.batcher.running is None:  # on a busy machine a request may end before
            assert client.post("/predict", content=PNG).status_code == 504
        wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
        classifier.released.set()
        assert [type(error) for error in fatal] == [HungError]


def test_batch_loop_that_dies_is_told_and_what_waits_fails_at_once(monkeypatch):
    fatal: list[Exception] = []
    app = create_app(Settings(deadline_ms=60_000), FakeClassifier(), FakeDetector(), on_fatal=fatal.append)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        assert client.post("/predict", content=PNG).status_code == 200
        batcher = app.state.service.engine.model.batcher
        monkeypatch.setattr(batcher, "_next_batch", lambda: 1 / 0)
        answer = client.post("/predict", content=PNG)
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "the batch loop died" in client.get("/readyz").json()["detail"]
        assert client.post("/predict", content=PNG).status_code == 503
        assert client.get("/healthz").status_code == 200
        assert [type(error) for error in fatal] == [BatcherStoppedError]


@pytest.mark.parametrize("jump_s", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_clock_that_jumps_changes_no_answer_and_no_duration(client, monkeypatch, jump_s):
    before = stable(client.post("/predict", content=PNG).json())
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    monkeypatch.setattr(time, "time_ns", lambda: time.time() * 1e9)
    answer = client.post("/predict", content=PNG).json()
    assert stable(answer) == before
    assert all(0 <= milliseconds < 60_000 for milliseconds in answer["timings_ms"].values())
    assert client.get("/readyz").status_code == 200


def test_model_run_that_raises_fails_its_own_face_only(client, classifier):
    classifier.poison = 7
    poisoned, fine = (encoded(np.full((48, 48), level, np.uint8)) for level in (7, 90))
    statuses = [client.post("/predict?detect=false", content=data).status_code for data in (fine, poisoned, fine)]
    assert statuses == [200, 500, 200]
