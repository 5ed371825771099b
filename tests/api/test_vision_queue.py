"""The queue of vision work is visible: in the response, in the metrics and in traces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.test_disconnect import PNG, HeldDetector
from tests.api.test_errors import wait_until
from tests.support.fakes import FakeClassifier


def metric(client, name: str) -> float:
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.setattr("app.main.available_cpus", lambda: 1)
    detector = HeldDetector()
    monkeypatch.setattr("app.main.FaceDetector", lambda: detector)
    yield detector
    detector.released.set()


def test_depth_and_wait_of_images_without_a_vision_thread(detector):
    from starlette.testclient import TestClient

    from app.config import Settings
    from app.main import create_app

    with TestClient(create_app(Settings(deadline_ms=60_000), FakeClassifier())) as client:
        with ThreadPoolExecutor(6) as callers:
            answers = [callers.submit(client.post, "/predict", content=PNG) for _ in range(6)]
            # One image is in the thread and one is submitted to it; four wait.
            wait_until(lambda: metric(client, "fer_vision_queue_depth") == 4)
            detector.released.set()
            waits = [answer.result().json()["timings_ms"]["vision_queue"] for answer in answers]
        assert max(waits) > 0
        assert metric(client, "fer_vision_queue_depth") == 0
        series = 'fer_stage_duration_seconds_count{stage="vision_queue"}'
        assert metric(client, series) == 6
