"""Verification, self-test, inference and providers of the session, with the shipped models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from app.contract.labels import LABELS
from app.contract.manifest import load_manifest
from app.contract.sidecar import ManifestError, golden_path, manifest_path
from app.inference import session as session_module
from app.inference.session import DeviceError, EmotionSession, SelfTestError, load_golden
from tests.support.paths import REPOSITORY

SHIPPED = REPOSITORY / "models" / "fer_vgg.onnx"
FULL = REPOSITORY / "models" / "fer_vgg_fp32.onnx"


@pytest.fixture(scope="module")
def session() -> EmotionSession:
    return EmotionSession(SHIPPED, "cpu", threads=1)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Copy of the shipped model that a test may damage."""
    return copy_of(SHIPPED, tmp_path)


def copy_of(model: Path, folder: Path) -> Path:
    for path in (model, manifest_path(model), golden_path(model)):
        shutil.copy(path, folder)
    return folder / model.name


def edit_manifest(model: Path, change) -> None:
    document = json.loads(manifest_path(model).read_text())
    change(document)
    manifest_path(model).write_text(json.dumps(document))


def test_shipped_model_reproduces_its_golden_vectors(session):
    crops, logits = load_golden(SHIPPED)
    assert crops.dtype == np.uint8
    assert len(crops) >= len(LABELS)
    assert np.abs(session.logits(crops) - logits).max() < 1e-4
    session.self_test()


def test_golden_vectors_of_the_shipped_model_cover_all_classes(session):
    _, logits = load_golden(SHIPPED)
    assert logits[: len(LABELS)].argmax(axis=1).tolist() == list(range(len(LABELS)))


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 33, 64])
def test_logits_of_a_batch_equal_those_of_single_crops(session, batch):
    crops = np.random.default_rng(batch).integers(0, 256, size=(batch, 48, 48, 1), dtype=np.uint8)
    batched = session.logits(crops)
    single = np.concatenate([session.logits(crop[np.newaxis]) for crop in crops])
    assert np.abs(batched - single).max() <= 1e-5
    assert batched.shape == (batch, 7)


def test_classify_returns_the_logits_of_each_crop(session):
    crops, golden = load_golden(SHIPPED)
    logits = np.stack(session.classify(list(crops)))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, golden, atol=1e-3)


def test_logits_from_many_threads_equal_those_of_one_thread(session):
    crops = np.random.default_rng(5).integers(0, 256, size=(32, 48, 48, 1), dtype=np.uint8)
    expected = [session.logits(crop[np.newaxis]) for crop in crops]
    with ThreadPoolExecutor(8) as threads:
        received = list(threads.map(lambda crop: session.logits(crop[np.newaxis]), crops))
    np.testing.assert_array_equal(np.concatenate(received), np.concatenate(expected))


def test_session_writes_no_telemetry_to_the_home_folder(tmp_path):
    """By default, ONNX Runtime stores a machine id there and sends it to its vendor with every session."""
    load = "from app.inference.session import EmotionSession; from pathlib import Path"
    code = f"{load}; EmotionSession(Path({str(SHIPPED)!r}), 'cpu', 1)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, check=True, capture_output=True)
    assert list(tmp_path.rglob("*")) == []


def test_warm_up_runs_the_largest_batch(session):
    session.warm_up(64)


def test_session_refuses_a_missing_model(tmp_path):
    with pytest.raises(ManifestError, match="does not exist"):
        EmotionSession(tmp_path / "none.onnx", "cpu", 1)


def test_session_refuses_a_changed_model_file(copied):
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    with pytest.raises(ManifestError, match="sha256"):
        EmotionSession(copied, "cpu", 1)


MANIFEST_CHANGES = {
    "labels": lambda document: document["contract"]["labels"].reverse(),
    "preprocess_id": lambda document: document["contract"].update(preprocess_id="other"),
    "input": lambda document: document["contract"]["input"].update(dtype="float32"),
    "output": lambda document: document["contract"]["output"].update(name="probabilities"),
    "temperature": lambda document: document["contract"].update(temperature=9.5),
    "surprise_key": lambda document: document.update(surprise_key=1),
    "schema_version": lambda document: document["contract"].update(schema_version=2),
}


@pytest.mark.parametrize("field", MANIFEST_CHANGES)
def test_session_refuses_a_wrong_manifest_field_by_name(copied, field):
    edit_manifest(copied, MANIFEST_CHANGES[field])
    with pytest.raises(ManifestError, match=field):
        EmotionSession(copied, "cpu", 1)


def test_session_refuses_a_missing_manifest(copied):
    manifest_path(copied).unlink()
    with pytest.raises(ManifestError, match="cannot be read"):
        EmotionSession(copied, "cpu", 1)


def test_session_refuses_a_file_that_is_not_onnx(copied):
    copied.write_bytes(b"no model")
    import hashlib

    edit_manifest(copied, lambda document: document.update(sha256=hashlib.sha256(b"no model").hexdigest()))
    with pytest.raises(ManifestError, match="cannot be loaded"):
        EmotionSession(copied, "cpu", 1)


@pytest.mark.parametrize(("model", "accepted", "refused"), [(FULL, 0.0005, 0.01), (SHIPPED, 0.05, 0.2)])
def test_self_test_fails_for_other_golden_vectors_with_the_difference(tmp_path, model, accepted, refused):
    """The tolerance is larger for int8, which may round in another direction on another CPU."""
    copied = copy_of(model, tmp_path)
    crops, logits = load_golden(copied)
    np.savez(golden_path(copied), crops=crops, logits=logits + accepted)
    EmotionSession(copied, "cpu", 1).self_test()
    np.savez(golden_path(copied), crops=crops, logits=logits + refused)
    with pytest.raises(SelfTestError, match=str(refused).replace(".", r"\.")):
        EmotionSession(copied, "cpu", 1).self_test()


def test_self_test_refuses_missing_golden_vectors(copied):
    golden_path(copied).unlink()
    with pytest.raises(ManifestError, match="golden"):
        EmotionSession(copied, "cpu", 1).self_test()


def test_session_cuda_fails_without_cuda(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="FER_DEVICE=cuda"):
        EmotionSession(SHIPPED, "cuda", 1)


def test_session_cuda_refuses_a_fallback_inside_onnx_runtime(monkeypatch, caplog):
    """Without CUDA's libraries, onnxruntime-gpu lists CUDA as available, logs a message and runs on the CPU."""
    monkeypatch.setattr(session_module, "_gpu_visible", lambda: True)
    monkeypatch.setattr(session_module, "_cuda_obstacle", lambda: None)
    opened = session_module._open
    monkeypatch.setattr(session_module, "_open", lambda path, providers, threads: opened(path, providers[-1:], threads))
    with pytest.raises(DeviceError, match="could not load CUDA"):
        EmotionSession(SHIPPED, "cuda", 1)
    session = EmotionSession(SHIPPED, "auto", 1)
    assert session.provider == "CPUExecutionProvider"
    assert "serves from the CPU" in caplog.text


def test_session_auto_uses_the_cpu_without_a_gpu(monkeypatch):
    monkeypatch.setattr(session_module, "_gpu_visible", lambda: False)
    assert EmotionSession(SHIPPED, "auto", 1).provider == "CPUExecutionProvider"


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers() or not session_module._gpu_visible(),
    reason="needs an NVIDIA GPU and onnxruntime-gpu",
)
def test_session_cuda_uses_cuda_and_reproduces_the_golden_vectors():
    cuda = EmotionSession(SHIPPED, "cuda", 1)
    assert cuda.provider == "CUDAExecutionProvider"
    cuda.self_test()


def test_shipped_graph_contains_only_convolutions_relu_and_pooling():
    onnx = pytest.importorskip("onnx")
    operations = [node.op_type for node in onnx.load(FULL).graph.node]
    first, last = operations.index("Conv"), len(operations) - 1 - operations[::-1].index("Conv")
    assert set(operations[first : last + 1]) == {"Conv", "Relu", "MaxPool"}
    assert "BatchNormalization" not in operations


def test_shipped_manifest_contains_metrics_and_provenance():
    manifest = load_manifest(SHIPPED)
    assert {"PublicTest", "PrivateTest"} <= set(manifest.metrics)
    assert manifest.metrics["PrivateTest"].images == 3589
    assert manifest.metrics["PrivateTest"].accuracy >= 0.67
    assert manifest.metrics["PrivateTest"].ece <= 0.05
    assert manifest.provenance.commit
    assert "dirty" not in manifest.provenance.commit
