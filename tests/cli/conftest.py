"""The repository as working directory, and fakes in place of the model and the detector."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.paths import REPOSITORY


@pytest.fixture(autouse=True)
def repository_as_working_directory(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("FER_DEVICE", "cpu")


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setattr("app.main.open_session", lambda settings, threads: FakeClassifier())
    monkeypatch.setattr("app.main.FaceDetector", FakeDetector)
