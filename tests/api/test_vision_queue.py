"""The vision queue in the response and in the metrics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.support.fakes import BlockingDetector, FakeClassifier
from tests.support.images import PNG
from tests.support.responses import metric_value
from tests.support.waiting import wait_until


def test_depth_and_wait_of_images_that_wait_for_a_vision_thread(monkeypatch):
    monkeypatch.setattr("app.main.available_cpus", lambda: 1)
    detector = BlockingDetector()
    with TestClient(create_app(Settings(deadline_ms=60_000), FakeClassifier(), detector)) as client:
        with ThreadPoolExecutor(6) as threads:
            responses = [threads.submit(client.post, "/predict", content=PNG) for _ in range(6)]
            try:
                # One image is in the thread, one is submitted to the executor, and four wait.
                wait_until(lambda: metric_value(client, "fer_vision_queue_depth") == 4)
            finally:
                detector.released.set()
            waits = [response.result().json()["timings_ms"]["vision_queue"] for response in responses]
        assert max(waits) > 0
        assert metric_value(client, "fer_vision_queue_depth") == 0
        assert metric_value(client, 'fer_stage_duration_seconds_count{stage="vision_queue"}') == 6
