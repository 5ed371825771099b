"""The end of `python -m app`: drain, signals under load, threads that hang."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np

from tests.support.images import ASTRONAUT, encoded
from tests.support.process import service_process
from tests.support.waiting import wait_until


def test_sigterm_drains_and_exits_with_0():
    with service_process(FER_DRAIN_S="3") as (client, process):
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503)
        assert client.get("/readyz").json()["code"] == "draining"
        assert client.post("/predict", content=ASTRONAUT.read_bytes()).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert process.wait(15) == 0
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_sigint_exits_without_a_drain():
    with service_process(FER_DRAIN_S="60") as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


# Like `python -m app`, but the detector hangs on images of one size.
HANGING_SERVICE = """
import threading
import app.main, app.__main__
class HangingDetector(app.main.FaceDetector):
    def detect(self, grey):
        if grey.shape == (64, 96):
            threading.Event().wait()
        return super().detect(grey)
app.main.FaceDetector = HangingDetector
app.__main__._leave(app.__main__.main())
"""
IMPATIENT_WATCHDOG = """
import app.engine.engine
app.engine.engine._HUNG_AFTER_DEADLINES = 1
"""
HANGING_IMAGE = encoded(np.full((64, 96), 128, np.uint8))


def test_hung_thread_ends_the_process_after_a_drain():
    program = IMPATIENT_WATCHDOG + HANGING_SERVICE
    with service_process(program, FER_DEADLINE_MS="1000", FER_DRAIN_S="1") as (client, process):
        assert client.post("/predict", content=HANGING_IMAGE).status_code == 504
        wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
        assert client.post("/predict?detect=false", content=ASTRONAUT.read_bytes()).status_code == 200
        assert process.wait(60) == 3
        assert "this instance cannot serve: a thread has been at one piece of work" in process.stderr.read()


def test_sigterm_with_a_hung_thread_exits_with_0():
    with service_process(HANGING_SERVICE, FER_DEADLINE_MS="1000", FER_DRAIN_S="0") as (client, process):
        assert client.post("/predict", content=HANGING_IMAGE).status_code == 504
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_sigterm_under_load_loses_no_request():
    photograph = ASTRONAUT.read_bytes()
    with service_process(FER_DRAIN_S="3") as (client, process):
        removed = threading.Event()
        statuses: list[int] = []

        def predict_repeatedly() -> None:  # like a load balancer: until the instance is not ready
            with httpx2.Client(base_url=client.base_url, timeout=60) as caller:
                while not removed.is_set():
                    statuses.append(caller.post("/predict", content=photograph).status_code)

        with ThreadPoolExecutor(8) as threads:
            callers = [threads.submit(predict_repeatedly) for _ in range(8)]
            wait_until(lambda: len(statuses) >= 8, seconds=60)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: client.get("/readyz").status_code == 503, seconds=60)
            removed.set()
            for caller in callers:
                caller.result(timeout=60)
        assert process.wait(60) == 0
        assert set(statuses) == {200}
