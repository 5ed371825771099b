"""Replacement of the model files of a process under load."""

from __future__ import annotations

import hashlib
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx

from app.contract.manifest import Manifest
from app.contract.sidecar import manifest_path
from tests.support.images import ASTRONAUT
from tests.support.paths import REPOSITORY
from tests.support.process import service_process
from tests.support.responses import metric_value
from tests.support.waiting import wait_until


def test_sighup_under_load_serves_new_files_and_refuses_damaged_files(tmp_path):
    for suffix in ("onnx", "manifest.json", "golden.npz"):
        shutil.copy(REPOSITORY / "models" / f"fer_vgg.{suffix}", tmp_path)
    path = tmp_path / "fer_vgg.onnx"
    photograph = ASTRONAUT.read_bytes()
    with service_process(FER_MODEL=str(path)) as (client, process):
        before = client.get("/info").json()["sha256"]
        ended = threading.Event()
        statuses: list[int] = []

        def predict_repeatedly() -> None:
            while not ended.is_set():
                statuses.append(client.post("/predict", content=photograph).status_code)

        with ThreadPoolExecutor(2) as threads:
            callers = [threads.submit(predict_repeatedly) for _ in range(2)]
            path.write_bytes(path.read_bytes()[:-100])
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: metric_value(client, 'fer_model_reloads_total{outcome="refused"}') == 1, seconds=60)
            assert client.get("/info").json()["sha256"] == before
            shutil.copy(REPOSITORY / "models" / "fer_vgg.onnx", path)
            after = change_hash(path)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: client.get("/info").json()["sha256"] == after, seconds=60)
            ended.set()
            for caller in callers:
                caller.result(timeout=30)
        assert set(statuses) == {200}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def change_hash(path: Path) -> str:
    """Add metadata to a model file, and write its new SHA-256 into the manifest; return the hash."""
    model = onnx.load(path)
    model.metadata_props.add(key="note", value="changes the hash of the file")
    onnx.save(model, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    sidecar = manifest_path(path)
    manifest = Manifest.model_validate_json(sidecar.read_bytes())
    sidecar.write_text(manifest.model_copy(update={"sha256": sha256}).model_dump_json())
    return sha256
