"""Model card: its figures are those of the manifest."""

from __future__ import annotations

import pytest

from app.contract.manifest import load_manifest
from app.contract.sidecar import manifest_path
from training.data.splits import Split
from training.errors import TrainingError
from training.evaluation.evaluate import record
from training.export.card import files_of_network, model_card, write_card
from training.export.export import export


@pytest.fixture(scope="module")
def models(run, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.evaluation.evaluate.latency_ms", lambda path, batch: 1.25 + 1 / batch)
        for precision in ("float32", "int8"):
            path = folder / f"tiny_{precision}.onnx"
            export(run, dataset, path, precision=precision)
            record(path, dataset, [Split.PUBLIC_TEST, Split.PRIVATE_TEST], timed=True)
    return folder


def test_card_has_the_figures_of_the_manifest(models):
    manifest = load_manifest(models / "tiny_float32.onnx")
    card = model_card(manifest)
    assert f"**{manifest.metrics['PrivateTest'].accuracy:.2%}**" in card
    assert f"| one ninth occluded | {manifest.robustness['one ninth occluded']:.2%} |" in card
    assert manifest.sha256 in card
    sets = manifest.prediction_sets["0.9"]
    measured = sets.measured["PrivateTest"]
    assert f"| 90% | PrivateTest | {sets.method.replace('_', ' ')} | {measured.coverage:.1%}" in card
    assert set(sets.measured) == {"PublicTest", "PrivateTest"}
    assert "{" not in card
    with pytest.raises(TrainingError, match="PrivateTest"):
        model_card(manifest.model_copy(update={"metrics": {}}))


def test_card_compares_the_files_of_one_network(models):
    files = files_of_network(models / "tiny_int8.onnx")
    assert [file.manifest.contract.precision for file in files] == ["float32", "int8"]
    card = model_card(load_manifest(models / "tiny_int8.onnx"), files)
    for file in files:
        manifest = file.manifest
        row = next(line for line in card.splitlines() if line.startswith(f"| `{manifest.contract.name}.onnx`"))
        assert f"{manifest.metrics['PrivateTest'].accuracy:.2%}" in row
        assert manifest.latency.ms_by_batch == {1: 2.25, 32: 1.281}
        assert "| 2.25 ms | 1.28 ms |" in row
        assert f"{file.size_bytes / 1e6:.1f} MB" in row
        assert f"--to models/{manifest.contract.name}.onnx --precision {manifest.contract.precision}" in card
    assert "Files of this network" in card
    assert "Files of this network" not in model_card(load_manifest(models / "tiny_int8.onnx"))


def test_write_card_writes_the_reliability_diagram_beside_the_card(models, tmp_path):
    write_card(models / "tiny_int8.onnx", tmp_path / "card.md")
    assert "(tiny_int8.reliability.png)" in (tmp_path / "card.md").read_text()
    assert (tmp_path / "tiny_int8.reliability.png").read_bytes().startswith(b"\x89PNG")


def test_files_of_another_run_are_not_of_this_network(models, tmp_path):
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = load_manifest(tmp_path / "tiny_int8.onnx")
    other_run = manifest.provenance.model_copy(update={"seed": manifest.provenance.seed + 1})
    changed = manifest.model_copy(update={"provenance": other_run})
    manifest_path(tmp_path / "tiny_int8.onnx").write_text(changed.model_dump_json())
    names = [file.manifest.contract.name for file in files_of_network(tmp_path / "tiny_float32.onnx")]
    assert names == ["tiny_float32"]
