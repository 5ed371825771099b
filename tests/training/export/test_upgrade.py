"""Upgrade of a model to the preprocessing of this version."""

from __future__ import annotations

import hashlib
import json
import shutil

import onnx
import pytest

from app.contract.manifest import CONTRACT_KEY, load_manifest
from app.contract.preprocess import PREPROCESS_ID
from app.contract.sidecar import ManifestError, golden_path, manifest_path
from app.inference.session import EmotionSession
from tests.support.paths import REPOSITORY
from training.errors import TrainingError
from training.export.upgrade import upgrade

OLD_ID = "grey48-box1.04-area-v1"
SHIPPED = REPOSITORY / "models" / "fer_vgg_crowd.onnx"


@pytest.fixture
def old_model(tmp_path):
    """Return a model with the preprocessing of version 1."""
    path = tmp_path / SHIPPED.name
    shutil.copy(golden_path(SHIPPED), golden_path(path))
    document = json.loads(manifest_path(SHIPPED).read_text())
    document["contract"] |= {"preprocess_id": OLD_ID, "version": "2020.1.4"}
    graph = onnx.load(SHIPPED)
    embedded = {entry.key: entry.value for entry in graph.metadata_props}
    onnx.helper.set_model_props(graph, embedded | {CONTRACT_KEY: json.dumps(document["contract"])})
    onnx.save(graph, path)
    document["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest_path(path).write_text(json.dumps(document))
    return path


def test_upgrade_lets_the_service_load_an_old_model(old_model):
    with pytest.raises(ManifestError, match=f"expected preprocess_id {PREPROCESS_ID}. Received: {OLD_ID}"):
        EmotionSession(old_model, "cpu", threads=1)
    metrics = json.loads(manifest_path(old_model).read_text())["metrics"]
    upgrade(old_model)
    session = EmotionSession(old_model, "cpu", threads=1)
    session.self_test()
    assert session.manifest.contract.preprocess_id == PREPROCESS_ID
    assert session.manifest.contract.version != "2020.1.4"
    assert session.manifest.metrics.keys() == metrics.keys()
    assert {path.suffix for path in old_model.parent.iterdir()} == {".onnx", ".json", ".npz"}


def test_upgrade_of_a_current_model_writes_nothing(old_model):
    upgrade(old_model)
    before = old_model.read_bytes()
    with pytest.raises(TrainingError, match="already"):
        upgrade(old_model)
    assert old_model.read_bytes() == before
    assert load_manifest(old_model).contract.preprocess_id == PREPROCESS_ID
