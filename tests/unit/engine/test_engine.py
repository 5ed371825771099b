"""The engine: the first load of the model."""

from __future__ import annotations

import asyncio

import pytest

from app.domain import PredictOptions
from app.engine.engine import Engine
from app.engine.model import EngineConfig
from app.engine.readiness import Readiness, State
from app.errors import ErrorCode, FerError
from app.observability.metrics import Metrics
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import PNG

CONFIG = EngineConfig(vision_threads=1, max_batch=8, max_pixels=1_000_000, deadline_s=60)


def test_first_load_is_ready_when_the_model_is_loaded():
    async def scenario():
        readiness, fatal = Readiness(), []
        engine = Engine(CONFIG, FakeDetector(), FakeClassifier, readiness, Metrics(), on_fatal=fatal.append)
        engine.start()
        assert (readiness.state, engine.is_loaded) == (State.STARTING, False)
        async with asyncio.timeout(10):
            while readiness.state is State.STARTING:
                await asyncio.sleep(0.001)
        assert (readiness.state, engine.is_loaded, fatal) == (State.READY, True, [])
        deadline = asyncio.get_running_loop().time() + 10
        assert len((await engine.predict(PNG, PredictOptions(), deadline)).faces) == 1
        await engine.stop()

    asyncio.run(scenario())


def test_first_load_that_fails_is_unhealthy_and_fatal():
    error = RuntimeError("labels differ in /secret/path")

    def open_classifier() -> FakeClassifier:
        raise error

    async def scenario():
        readiness, failed = Readiness(), asyncio.Event()
        reports: list[tuple[Exception, State]] = []

        def on_fatal(reported: Exception) -> None:
            reports.append((reported, readiness.state))
            failed.set()

        engine = Engine(CONFIG, FakeDetector(), open_classifier, readiness, Metrics(), on_fatal=on_fatal)
        engine.start()
        async with asyncio.timeout(10):
            await failed.wait()
        assert reports == [(error, State.UNHEALTHY)]  # the readiness changes before the report
        assert readiness.reason == "the model cannot be served; the log has the reason"
        assert not engine.is_loaded
        with pytest.raises(FerError, match="the model cannot be served") as refused:
            _ = engine.model
        assert refused.value.code == ErrorCode.NOT_READY
        await engine.stop()

    asyncio.run(scenario())
