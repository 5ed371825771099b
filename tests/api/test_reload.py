"""Reload: a new model replaces the current one without a failed request; an invalid model changes nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import app.main as main_module
from app.config import Settings
from app.engine.readiness import State
from app.errors import ErrorCode
from app.main import create_app
from tests.support.fakes import FakeClassifier, FakeDetector, make_manifest
from tests.support.images import PNG, encoded
from tests.support.paths import REPOSITORY
from tests.support.responses import assert_problem, metric_value
from tests.support.waiting import wait_until

KEY = "an-admin-key"
RELOAD = {"X-API-Key": KEY}


class FakeModelFiles:
    """Fake of the model files.

    Attributes:
        classifier: Model that the next load returns, or exception that it raises.
        loads: Number of loads so far.
        released: While this event is cleared, a load waits.
    """

    def __init__(self) -> None:
        self.classifier: FakeClassifier | Exception = make_model("1")
        self.loads = 0
        self.released = threading.Event()
        self.released.set()

    def load(self, *_: Any) -> FakeClassifier:
        self.loads += 1
        assert self.released.wait(10)
        if isinstance(self.classifier, Exception):
            raise self.classifier
        return self.classifier


def make_model(number: str) -> FakeClassifier:
    classifier = FakeClassifier()
    classifier.manifest = make_manifest(version=f"2026.11.{number}").model_copy(update={"sha256": number * 64})
    return classifier


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> FakeModelFiles:
    files = FakeModelFiles()
    monkeypatch.setattr(main_module, "open_session", files.load)
    return files


@pytest.fixture
def client(files: FakeModelFiles) -> Iterator[TestClient]:
    settings = Settings(deadline_ms=60_000, admin_keys=(KEY,))
    with TestClient(create_app(settings, detector=FakeDetector()), raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def predict_version(client: TestClient) -> str:
    """Predict an image; return the version of the model that was used."""
    response = client.post("/predict", content=PNG, headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    version: str = response.json()["model"]["version"]
    assert len(response.json()["faces"]) == 1
    return version


def reload_count(client: TestClient, outcome: str) -> float:
    return metric_value(client, f'fer_model_reloads_total{{outcome="{outcome}"}}')


def test_reload_serves_and_reports_the_new_model(client, files):
    assert predict_version(client) == "2026.11.1"
    files.classifier = make_model("2")
    response = client.post("/admin/reload", headers=RELOAD)
    assert response.status_code == 200
    assert response.json()["model"]["version"] == "2026.11.2"
    assert response.json()["replaced"] is True
    assert predict_version(client) == "2026.11.2"
    assert client.get("/info").json()["version"] == "2026.11.2"
    infos = [line for line in client.get("/metrics").text.splitlines() if line.startswith("fer_model_info{")]
    assert len(infos) == 1
    assert "2026.11.2" in infos[0]
    assert reload_count(client, "replaced") == 1


def test_reload_of_unchanged_files_keeps_the_model(client, files):
    model = client.app.state.service.engine.model
    response = client.post("/admin/reload", headers=RELOAD)
    assert response.json()["replaced"] is False
    assert client.app.state.service.engine.model is model
    assert reload_count(client, "unchanged") == 1


def test_reload_of_a_changed_manifest_serves_the_new_manifest(client, files):
    """The training commands `evaluate` and `card` change a manifest, and not the model file."""
    manifest = files.classifier.manifest
    changed = FakeClassifier()
    changed.manifest = manifest.model_copy(update={"robustness": {"blur": 0.5}})
    files.classifier = changed
    assert client.post("/admin/reload", headers=RELOAD).json()["replaced"] is True
    assert client.app.state.service.engine.model.manifest == changed.manifest


def test_reload_of_an_invalid_model_is_refused_and_the_current_model_serves(client, files):
    files.classifier = RuntimeError("labels differ in /secret/path")
    response = client.post("/admin/reload", headers=RELOAD)
    assert response.status_code == 409
    assert response.json()["code"] == ErrorCode.MODEL_REFUSED
    assert "secret" not in response.text
    assert predict_version(client) == "2026.11.1"
    assert client.get("/readyz").status_code == 200
    assert reload_count(client, "refused") == 1


def test_reload_under_load_fails_no_request(client, files):
    first = files.classifier
    versions: list[str] = []
    ended = threading.Event()

    def predict_repeatedly() -> None:
        while not ended.is_set():
            versions.append(predict_version(client))

    with ThreadPoolExecutor(4) as threads:
        callers = [threads.submit(predict_repeatedly) for _ in range(4)]
        for number in "23456":
            enough = len(versions) + 8
            wait_until(lambda enough=enough: len(versions) > enough)
            files.classifier = make_model(number)
            assert client.post("/admin/reload", headers=RELOAD).status_code == 200
        ended.set()
        for caller in callers:
            caller.result(timeout=10)
    assert set(versions) >= {"2026.11.1", "2026.11.2", "2026.11.5"}
    assert isinstance(first, FakeClassifier)
    assert first.batches


def test_request_that_started_with_the_old_model_ends_with_it(client, files):
    old = files.classifier
    old.released.clear()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(predict_version, client)
        wait_until(lambda: client.app.state.service.admission.permits == 1)
        files.classifier = make_model("2")
        assert client.post("/admin/reload", headers=RELOAD).json()["replaced"] is True
        assert predict_version(client) == "2026.11.2"  # does not wait for the batch of the old model
        old.released.set()
        assert waiting.result(timeout=10) == "2026.11.1"


def test_reload_during_another_reload_is_refused(client, files):
    files.classifier = make_model("2")
    files.released.clear()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/admin/reload", headers=RELOAD)
        wait_until(lambda: files.loads == 2)
        second = client.post("/admin/reload", headers=RELOAD)
        assert (second.status_code, second.json()["code"]) == (409, ErrorCode.RELOAD_IN_PROGRESS)
        assert predict_version(client) == "2026.11.1"  # the current model serves during the load
        files.released.set()
        assert first.result(timeout=10).status_code == 200


def test_reload_makes_an_unhealthy_instance_ready(client, files):
    files.classifier.poison = 0
    black = encoded(np.zeros((48, 48), np.uint8))
    for _ in range(20):
        client.post("/predict?detect=false", content=black, headers={"Content-Type": "image/png"})
    assert client.app.state.service.readiness.state is State.UNHEALTHY
    files.classifier = make_model("2")
    assert client.post("/admin/reload", headers=RELOAD).status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_reload_without_the_admin_key_is_refused(client, files, headers):
    assert client.post("/admin/reload", headers=headers).status_code == 401
    assert files.loads == 1


def test_reload_needs_admin_keys_and_refuses_api_keys(files):
    with TestClient(create_app(Settings(api_keys=("caller",)), detector=FakeDetector())) as client:
        assert client.post("/admin/reload", headers={"X-API-Key": "caller"}).status_code == 404
    with TestClient(create_app(Settings(api_keys=("caller",), admin_keys=(KEY,)), detector=FakeDetector())) as client:
        assert client.post("/admin/reload", headers={"X-API-Key": "caller"}).status_code == 401


def test_reload_refuses_damaged_model_files(tmp_path: Path):
    for name in ("fer_vgg.onnx", "fer_vgg.manifest.json", "fer_vgg.golden.npz"):
        shutil.copy(REPOSITORY / "models" / name, tmp_path / name)
    path = tmp_path / "fer_vgg.onnx"
    settings = Settings(model=path, device="cpu", admin_keys=(KEY,), deadline_ms=60_000)
    with TestClient(create_app(settings, detector=FakeDetector())) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        version = predict_version(client)
        manifest = (tmp_path / "fer_vgg.manifest.json").read_text()
        model_bytes = path.read_bytes()
        for damage in (
            lambda: path.write_bytes(model_bytes[:-1000]),
            lambda: path.write_bytes(model_bytes[:5000] + b"\xff" + model_bytes[5001:]),
            lambda: (tmp_path / "fer_vgg.manifest.json").write_text(manifest.replace('"happy"', '"merry"', 1)),
            (tmp_path / "fer_vgg.manifest.json").unlink,
        ):
            damage()
            assert client.post("/admin/reload", headers=RELOAD).json()["code"] == "model_refused"
            assert predict_version(client) == version
            path.write_bytes(model_bytes)
            (tmp_path / "fer_vgg.manifest.json").write_text(manifest)
        assert client.post("/admin/reload", headers=RELOAD).json()["replaced"] is False


def test_first_load_that_fails_is_reported(files):
    files.classifier = RuntimeError("labels differ in /secret/path")
    fatal: list[Exception] = []
    with TestClient(create_app(Settings(), detector=FakeDetector(), on_fatal=fatal.append)) as client:
        wait_until(lambda: fatal)
        assert fatal == [files.classifier]
        body = assert_problem(client.get("/readyz"), ErrorCode.NOT_READY)
        assert "the model cannot be served" in body["detail"]
        assert client.get("/healthz").status_code == 200
        response = client.post("/predict", content=PNG)
        assert "secret" not in assert_problem(response, ErrorCode.NOT_READY)["detail"]
