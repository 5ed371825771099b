"""Upgrade of an exported model to the preprocessing of this version, without training."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import onnx

from app.contract.manifest import CONTRACT_KEY, Manifest, read_manifest
from app.contract.preprocess import PREPROCESS_ID
from app.contract.sidecar import golden_path, manifest_path
from app.inference.session import EmotionSession
from training.errors import TrainingError
from training.export.version import next_version
from training.files import write_text


def upgrade(model_path: Path) -> Manifest:
    """Let a model declare this version's preprocessing. The network, its golden vectors and its metrics stay.

    The metrics are those of the old preprocessing until `training evaluate` measures the model again.

    Args:
        model_path: ONNX file with its manifest and golden vectors.

    Returns:
        The manifest as written.

    Raises:
        ManifestError: A file is missing or damaged.
        SelfTestError: The model does not reproduce its golden vectors.
        TrainingError: The model has this version's preprocessing already.
    """
    manifest = read_manifest(model_path)
    if manifest.contract.preprocess_id == PREPROCESS_ID:
        raise TrainingError(f"{model_path} has the preprocessing {PREPROCESS_ID} already. Nothing was written.")
    contract = manifest.contract.model_copy(
        update={"preprocess_id": PREPROCESS_ID, "version": next_version(manifest.contract.version)}
    )
    graph = onnx.load(model_path)
    embedded = {entry.key: entry.value for entry in graph.metadata_props}
    onnx.helper.set_model_props(graph, embedded | {CONTRACT_KEY: contract.model_dump_json()})
    with tempfile.TemporaryDirectory(dir=model_path.parent, prefix=".upgrade-") as folder:
        staged = Path(folder) / model_path.name
        onnx.save(graph, staged)
        digest = hashlib.sha256(staged.read_bytes()).hexdigest()
        upgraded = manifest.model_copy(update={"contract": contract, "sha256": digest})
        write_text(manifest_path(staged), upgraded.model_dump_json(indent=2) + "\n")
        shutil.copy(golden_path(model_path), golden_path(staged))
        EmotionSession(staged, "cpu", threads=1).self_test()
        for path in (manifest_path(staged), staged):
            shutil.move(path, model_path.parent / path.name)
    return upgraded
