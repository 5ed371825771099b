"""A new model replaces the old one under load without a failed request; a bad one is refused and changes nothing."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
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
from tests.support.images import encoded, picture
from tests.support.paths import REPOSITORY

KEY = "an-admin-key"
RELOAD = {"X-API-Key": KEY}


class Shelf:
    """Stands for the model files: what the next load finds there."""

    def __init__(self) -> None:
        self.classifier: FakeClassifier | Exception = model("1")
        self.loads = 0
        self.hold = threading.Event()
        self.hold.set()

    def open(self, *_: Any) -> FakeClassifier:
        self.loads += 1
        assert self.hold.wait(10)
        if isinstance(self.classifier, Exception):
            raise self.classifier
        return self.classifier


def model(number: str) -> FakeClassifier:
    classifier = FakeClassifier()
    classifier.manifest = make_manifest(version=f"2026.11.{number}").model_copy(update={"sha256": number * 64})
    return classifier


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr(main_module, "open_session", shelf.open)
    return shelf


@pytest.fixture
def client(shelf: Shelf) -> Iterator[TestClient]:
    settings = Settings(deadline_ms=60_000, admin_keys=(KEY,))
    with TestClient(create_app(settings, detector=FakeDetector()), raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within 10 s")


def version(client: TestClient) -> str:
    answer = client.post("/predict", content=encoded(picture(1)), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["model"]["version"]
    assert len(answer.json()["faces"]) == 1
    return found


def reload_count(client: TestClient, outcome: str) -> float:
    series = f'fer_model_reloads_total{{outcome="{outcome}"'
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith(series)]
    return float(line.split()[-1])


def test_reload_serves_the_new_model_and_says_so(client, shelf):
    assert version(client) == "2026.11.1"
    shelf.classifier = model("2")
    answer = client.post("/admin/reload", headers=RELOAD)
    assert answer.status_code == 200
    assert answer.json()["model"]["version"] == "2026.11.2"
    assert answer.json()["replaced"] is True
    assert version(client) == "2026.11.2"
    assert client.get("/info").json()["version"] == "2026.11.2"
    infos = [line for line in client.get("/metrics").text.splitlines() if line.startswith("fer_model_info{")]
    assert len(infos) == 1
    assert "2026.11.2" in infos[0]
    assert reload_count(client, "replaced") == 1


def test_reload_of_the_same_file_changes_nothing(client, shelf):
    model = client.app.state.service.engine.model
    answer = client.post("/admin/reload", headers=RELOAD)
    assert answer.json()["replaced"] is False
    assert client.app.state.service.engine.model is model
    assert reload_count(client, "unchanged") == 1


def test_reload_of_new_figures_for_the_same_file_serves_them(client, shelf):
    """`evaluate` and `card` change a manifest and leave the network as it is."""
    manifest = shelf.classifier.manifest
    again = FakeClassifier()
    again.manifest = manifest.model_copy(update={"robustness": {"blur": 0.5}})
    shelf.classifier = again
    assert client.post("/admin/reload", headers=RELOAD).json()["replaced"] is True
    assert client.app.state.service.engine.model.manifest == again.manifest


def test_reload_of_a_bad_model_is_refused_and_the_old_one_serves_on(client, shelf):
    shelf.classifier = RuntimeError("labels differ in /secret/path")
    answer = client.post("/admin/reload", headers=RELOAD)
    assert answer.status_code == 409
    assert answer.json()["code"] == ErrorCode.MODEL_REFUSED
    assert "secret" not in answer.text
    assert version(client) == "2026.11.1"
    assert client.get("/readyz").status_code == 200
    assert reload_count(client, "refused") == 1


def test_reload_under_load_fails_no_request_and_mixes_no_models(client, shelf):
    first = shelf.classifier
    answers: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            answers.append(version(client))

    with ThreadPoolExecutor(4) as threads:
        callers = [threads.submit(ask) for _ in range(4)]
        for number in "23456":
            enough = len(answers) + 8
            wait_until(lambda enough=enough: len(answers) > enough)
            shelf.classifier = model(number)
            assert client.post("/admin/reload", headers=RELOAD).status_code == 200
        ended.set()
        for caller in callers:
            caller.result(timeout=10)
    assert set(answers) >= {"2026.11.1", "2026.11.2", "2026.11.5"}
    assert isinstance(first, FakeClassifier)
    assert first.batches


def test_request_that_began_with_the_old_model_ends_with_it(client, shelf):
    old = shelf.classifier
    old.released.clear()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(version, client)
        wait_until(lambda: client.app.state.service.admission.permits == 1)
        shelf.classifier = model("2")
        assert client.post("/admin/reload", headers=RELOAD).json()["replaced"] is True
        assert version(client) == "2026.11.2"  # the new model does not wait for the old one's batch
        old.released.set()
        assert waiting.result(timeout=10) == "2026.11.1"


def test_reload_while_another_runs_is_refused(client, shelf):
    shelf.classifier = model("2")
    shelf.hold.clear()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/admin/reload", headers=RELOAD)
        wait_until(lambda: shelf.loads == 2)
        second = client.post("/admin/reload", headers=RELOAD)
        assert (second.status_code, second.json()["code"]) == (409, ErrorCode.RELOAD_IN_PROGRESS)
        assert version(client) == "2026.11.1"  # the old model serves while the new one loads
        shelf.hold.set()
        assert first.result(timeout=10).status_code == 200


def test_reload_heals_an_unhealthy_instance(client, shelf):
    shelf.classifier.poison = 0
    black = encoded(np.zeros((48, 48), np.uint8))
    for _ in range(20):
        client.post("/predict?detect=false", content=black, headers={"Content-Type": "image/png"})
    assert client.app.state.service.readiness.state is State.UNHEALTHY
    shelf.classifier = model("2")
    assert client.post("/admin/reload", headers=RELOAD).status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_reload_without_the_admin_key_is_refused(client, shelf, headers):
    assert client.post("/admin/reload", headers=headers).status_code == 401
    assert shelf.loads == 1


def test_reload_is_not_there_without_admin_keys_and_api_keys_do_not_open_it(shelf):
    with TestClient(create_app(Settings(api_keys=("caller",)), detector=FakeDetector())) as client:
        assert client.post("/admin/reload", headers={"X-API-Key": "caller"}).status_code == 404
    with TestClient(create_app(Settings(api_keys=("caller",), admin_keys=(KEY,)), detector=FakeDetector())) as client:
        assert client.post("/admin/reload", headers={"X-API-Key": "caller"}).status_code == 401


def test_reload_of_real_files_refuses_each_kind_of_damage(tmp_path: Path):
    for name in ("fer_vgg.onnx", "fer_vgg.manifest.json", "fer_vgg.golden.npz"):
        shutil.copy(REPOSITORY / "models" / name, tmp_path / name)
    path = tmp_path / "fer_vgg.onnx"
    settings = Settings(model=path, device="cpu", admin_keys=(KEY,), deadline_ms=60_000)
    with TestClient(create_app(settings, detector=FakeDetector())) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        serving = version(client)
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
            assert version(client) == serving
            path.write_bytes(model_bytes)
            (tmp_path / "fer_vgg.manifest.json").write_text(manifest)
        assert client.post("/admin/reload", headers=RELOAD).json()["replaced"] is False
