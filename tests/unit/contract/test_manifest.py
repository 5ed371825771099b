"""The manifest of a model file."""

from __future__ import annotations

import json

from app.contract.manifest import load_manifest
from tests.support.paths import REPOSITORY


def test_manifest_of_version_1_is_read(tmp_path):
    for name in ("fer_vgg_crowd.onnx", "fer_vgg_crowd.manifest.json"):
        (tmp_path / name).write_bytes((REPOSITORY / "models" / name).read_bytes())
    current = load_manifest(tmp_path / "fer_vgg_crowd.onnx")
    sidecar = tmp_path / "fer_vgg_crowd.manifest.json"
    text = sidecar.read_text()
    old = (
        text.replace('"accuracy_without_duplicates"', '"accuracy_without_training_twins"')
        .replace('"annotator_metrics"', '"crowd_metrics"')
        .replace('"learned_labels": "annotators"', '"learned_labels": "crowd"')
    )
    assert old != text
    sidecar.write_text(old)
    assert load_manifest(tmp_path / "fer_vgg_crowd.onnx") == current
    assert set(json.loads(current.model_dump_json())) >= {"annotator_metrics"}
