"""Fixtures that start the service with fakes of the model and the detector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector, LandmarkDetector
from tests.support.server import serving


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of test processes: two more than cores, because many tests wait for a service or a browser."""
    return (os.cpu_count() or 1) + 2


@pytest.fixture
def classifier() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture
def make_client(classifier: FakeClassifier) -> Iterator[Callable[..., TestClient]]:
    """Return a function that starts the service with settings, and returns a client. It stops after the test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> TestClient:
            # A long deadline, so that a busy machine changes no response. Tests of deadlines set their own.
            app = create_app(Settings(**({"deadline_ms": 60_000} | settings)), classifier, FakeDetector())
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start
        classifier.released.set()


@pytest.fixture
def landmark_client(classifier: FakeClassifier) -> Iterator[TestClient]:
    """Return a client of a service whose detector knows the roll and the landmarks of faces."""
    with TestClient(create_app(Settings(), classifier, LandmarkDetector())) as client:
        yield client


@pytest.fixture
def make_server(classifier: FakeClassifier) -> Iterator[Callable[..., str]]:
    """Return a function like `make_client` that starts a server on a free port, and returns its URL."""
    with ExitStack() as stack:

        def start(**settings: Any) -> str:
            app = create_app(Settings(**({"deadline_ms": 60_000} | settings)), classifier, FakeDetector())
            return stack.enter_context(serving(app))

        yield start
        classifier.released.set()


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()
