"""The session of a real ONNX file: verification, self-test, providers. The shipped model is used where it can be."""

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
from app.contract.manifest import ManifestError, golden_path, load_manifest, manifest_path
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
    """The shipped model in a folder where a test may spoil it."""
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


def test_golden_faces_of_the_shipped_model_are_of_all_classes(session):
    _, logits = load_golden(SHIPPED)
    assert logits[: len(LABELS)].argmax(axis=1).tolist() == list(range(len(LABELS)))


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 33, 64])
def test_logits_of_a_batch_equal_each_crop_alone(session, batch):
    crops = np.random.default_rng(batch).integers(0, 256, size=(batch, 48, 48, 1), dtype=np.uint8)
    together = session.logits(crops)
    alone = np.concatenate([session.logits(crop[np.newaxis]) for crop in crops])
    assert np.abs(together - alone).max() <= 1e-5
    assert together.shape == (batch, 7)


def test_classify_gives_the_logits_of_each_crop(session):
    crops, golden = load_golden(SHIPPED)
    logits = np.stack(session.classify(list(crops)))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, golden, atol=1e-3)


def test_logits_from_many_threads_are_those_of_one(session):
    crops = np.random.default_rng(5).integers(0, 256, size=(32, 48, 48, 1), dtype=np.uint8)
    expected = [session.logits(crop[np.newaxis]) for crop in crops]
    with ThreadPoolExecutor(8) as threads:
        received = list(threads.map(lambda crop: session.logits(crop[np.newaxis]), crops))
    np.testing.assert_array_equal(np.concatenate(received), np.concatenate(expected))


def test_session_leaves_no_trace_of_telemetry_in_the_home_folder(tmp_path):
    """ONNX Runtime otherwise keeps an id of the machine there, and sends it to its maker with every session."""
    load = "from app.inference.session import EmotionSession; from pathlib import Path"
    code = f"{load}; EmotionSession(Path({str(SHIPPED)!r}), 'cpu', 1)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, check=True, capture_output=True)
    assert list(tmp_path.rglob("*")) == []


def test_session_warm_up_runs_the_largest_batch(session):
    session.warm_up(64)


def test_session_missing_model_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="does not exist"):
        EmotionSession(tmp_path / "none.onnx", "cpu", 1)


def test_session_changed_model_file_is_refused_by_its_hash(copied):
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    with pytest.raises(ManifestError, match="sha256"):
        EmotionSession(copied, "cpu", 1)


MANIFEST_SPOILERS = {
    "labels": lambda document: document["contract"]["labels"].reverse(),
    "preprocess_id": lambda document: document["contract"].update(preprocess_id="other"),
    "input": lambda document: document["contract"]["input"].update(dtype="float32"),
    "output": lambda document: document["contract"]["output"].update(name="probabilities"),
    "temperature": lambda document: document["contract"].update(temperature=9.5),
    "surprise_key": lambda document: document.update(surprise_key=1),
    "schema_version": lambda document: document["contract"].update(schema_version=2),
}


@pytest.mark.parametrize("field", MANIFEST_SPOILERS)
def test_session_manifest_that_does_not_fit_is_refused_by_name(copied, field):
    edit_manifest(copied, MANIFEST_SPOILERS[field])
    with pytest.raises(ManifestError, match=field):
        EmotionSession(copied, "cpu", 1)


def test_session_missing_manifest_is_refused(copied):
    manifest_path(copied).unlink()
    with pytest.raises(ManifestError, match="cannot be read"):
        EmotionSession(copied, "cpu", 1)


def test_session_file_that_is_no_onnx_is_refused(copied):
    copied.write_bytes(b"no model")
    import hashlib

    edit_manifest(copied, lambda document: document.update(sha256=hashlib.sha256(b"no model").hexdigest()))
    with pytest.raises(ManifestError, match="cannot be loaded"):
        EmotionSession(copied, "cpu", 1)


@pytest.mark.parametrize(("model", "accepted", "refused"), [(FULL, 0.0005, 0.01), (SHIPPED, 0.05, 0.2)])
def test_self_test_other_golden_vectors_fail_with_the_difference(tmp_path, model, accepted, refused):
    """Eight bits may round the other way elsewhere; whole floats may not."""
    copied = copy_of(model, tmp_path)
    crops, logits = load_golden(copied)
    np.savez(golden_path(copied), crops=crops, logits=logits + accepted)
    EmotionSession(copied, "cpu", 1).self_test()
    np.savez(golden_path(copied), crops=crops, logits=logits + refused)
    with pytest.raises(SelfTestError, match=str(refused).replace(".", r"\.")):
        EmotionSession(copied, "cpu", 1).self_test()


def test_self_test_without_golden_vectors_is_refused(copied):
    golden_path(copied).unlink()
    with pytest.raises(ManifestError, match="golden"):
        EmotionSession(copied, "cpu", 1).self_test()


def test_session_cuda_without_cuda_never_serves_from_the_cpu(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="FER_DEVICE=cuda"):
        EmotionSession(SHIPPED, "cuda", 1)


def test_session_cuda_that_falls_back_inside_onnx_runtime_is_refused(monkeypatch, caplog):
    """What onnxruntime-gpu does where CUDA's libraries are missing: it offers CUDA, logs, and runs on the CPU."""
    monkeypatch.setattr(session_module, "_gpu_visible", lambda: True)
    monkeypatch.setattr(session_module, "_cuda_obstacle", lambda: None)
    opened = session_module._open
    monkeypatch.setattr(session_module, "_open", lambda path, providers, threads: opened(path, providers[-1:], threads))
    with pytest.raises(DeviceError, match="could not load CUDA"):
        EmotionSession(SHIPPED, "cuda", 1)
    fallen_back = EmotionSession(SHIPPED, "auto", 1)
    assert fallen_back.provider == "CPUExecutionProvider"
    assert "serves from the CPU" in caplog.text


def test_session_auto_without_a_gpu_serves_from_the_cpu(monkeypatch):
    monkeypatch.setattr(session_module, "_gpu_visible", lambda: False)
    assert EmotionSession(SHIPPED, "auto", 1).provider == "CPUExecutionProvider"


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers() or not session_module._gpu_visible(),
    reason="needs an NVIDIA GPU and onnxruntime-gpu",
)
def test_session_cuda_serves_from_cuda_and_agrees_with_the_golden_vectors():
    cuda = EmotionSession(SHIPPED, "cuda", 1)
    assert cuda.provider == "CUDAExecutionProvider"
    cuda.self_test()


def test_shipped_graph_is_a_plain_chain_of_convolutions():
    onnx = pytest.importorskip("onnx")
    operations = [node.op_type for node in onnx.load(FULL).graph.node]
    first, last = operations.index("Conv"), len(operations) - 1 - operations[::-1].index("Conv")
    assert set(operations[first : last + 1]) == {"Conv", "Relu", "MaxPool"}
    assert "BatchNormalization" not in operations


def test_shipped_manifest_says_how_good_the_model_is():
    manifest = load_manifest(SHIPPED)
    assert {"PublicTest", "PrivateTest"} <= set(manifest.metrics)
    assert manifest.metrics["PrivateTest"].images == 3589
    assert manifest.metrics["PrivateTest"].accuracy >= 0.67
    assert manifest.metrics["PrivateTest"].ece <= 0.05
    assert manifest.provenance.commit
    assert "dirty" not in manifest.provenance.commit
