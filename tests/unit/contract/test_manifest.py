"""Manifests: shipped models match theirs, version 1 is read, unknown fields are refused."""

from __future__ import annotations

import json
import shutil

import pytest

from app.contract.manifest import Manifest, load_manifest, verify_embedded
from app.contract.sidecar import ManifestError, manifest_path
from app.inference.session import EmotionSession
from tests.support.paths import REPOSITORY

MODELS = sorted((REPOSITORY / "models").glob("*.onnx"))


def copy_of_model(path, folder):
    for source in (path, manifest_path(path)):
        shutil.copyfile(source, folder / source.name)
    return folder / path.name


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_shipped_model_reproduces_its_golden_vectors(path):
    session = EmotionSession(path, "cpu", threads=1)
    session.self_test()
    learned = "annotators" if path.stem.startswith("fer_vgg_crowd") else "original"
    assert session.manifest.provenance.learned_labels == learned
    assert {"PublicTest", "PrivateTest"} <= session.manifest.metrics.keys() & session.manifest.annotator_metrics.keys()


def test_manifest_of_version_1_is_read(tmp_path):
    path = copy_of_model(REPOSITORY / "models" / "fer_vgg_crowd.onnx", tmp_path)
    current = load_manifest(path)
    text = manifest_path(path).read_text()
    old = (
        text.replace('"accuracy_without_duplicates"', '"accuracy_without_training_twins"')
        .replace('"annotator_metrics"', '"crowd_metrics"')
        .replace('"learned_labels": "annotators"', '"learned_labels": "crowd"')
    )
    assert old != text
    manifest_path(path).write_text(old)
    assert load_manifest(path) == current
    assert set(json.loads(current.model_dump_json())) >= {"annotator_metrics"}


@pytest.mark.parametrize(
    ("field", "unknown"),
    [("annotator_metrics", "other_metrics"), ("accuracy_without_duplicates", "accuracy_with_duplicates")],
)
def test_unknown_field_is_refused_by_name(tmp_path, field, unknown):
    path = copy_of_model(MODELS[0], tmp_path)
    manifest_path(path).write_text(manifest_path(path).read_text().replace(field, unknown))
    with pytest.raises(ManifestError, match=f"{unknown}: Extra inputs"):
        load_manifest(path)


def test_different_embedded_contract_is_refused_by_field():
    manifest = Manifest.model_validate_json(manifest_path(MODELS[0]).read_bytes())
    embedded = json.loads(manifest.contract.model_dump_json()) | {"temperature": 9.0, "version": "2020.1.1"}
    with pytest.raises(ManifestError, match="different contracts: version, temperature"):
        verify_embedded(manifest, {"fer.contract": json.dumps(embedded)}, MODELS[0])
