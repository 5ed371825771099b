"""Rehearsal of a plan on the CPU: teachers, then students, archives as they come, import and export of the weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.inference.session import EmotionSession
from tests.support.datasets import tiny_config
from tests.training.studies.conftest import call_in_this_process
from training.config import load_config
from training.data.splits import Split
from training.errors import TrainingError
from training.export.export import export
from training.fit.archive import pack, unpack
from training.fit.parent_runs import load_trained
from training.fit.run_folder import RunFolder
from training.studies import plan as plan_module
from training.studies.plan import load_plan, run_plan

PLAN = """name = "rehearsal"
minutes = 0.3
[[stages]]
share = 1
configs = ["teacher_sgd.toml", "teacher_cutmix.toml"]
[[stages]]
share = 2
configs = ["student.toml"]
seeds = [1, 2]
"""
BASE = """name = "{name}"
seed = {seed}
epochs = 4
batch_size = 16
ema_momentum = 0.9
averaged_epochs = 2
validation_size = "training"
precision = "float32"
progressive_sizes = [{{ epoch = 0, size_px = 24 }}, {{ epoch = 2, size_px = 48 }}]
[model]
architecture = "vgg"
widths = [4, 8]
[augment]
flip_probability = 0.5
{augment}
[optimizer]
name = "{optimizer}"
learning_rate = 0.01
warmup_epochs = 1
{rest}
"""
DISTILLATION = """[distillation]
runs = ["{runs}/teacher_sgd-seed5", "{runs}/teacher_cutmix-seed6"]
share = 0.8
images = "augmented"
[sharpness_aware]
last_epochs = 2
"""


def write_plan(folder, runs):
    configs = {
        "teacher_sgd": BASE.format(name="teacher_sgd", seed=5, augment="mixup_alpha = 1.0", optimizer="sgd", rest=""),
        "teacher_cutmix": BASE.format(
            name="teacher_cutmix", seed=6, augment="cutmix_alpha = 1.0", optimizer="adamw", rest=""
        ),
        "student": BASE.format(
            name="student", seed=1, augment="", optimizer="adamw", rest=DISTILLATION.format(runs=runs)
        ),
        "plan": PLAN,
    }
    for name, text in configs.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / "plan.toml"


@pytest.fixture(scope="module")
def rehearsed(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "call_in_subprocesses", call_in_this_process)
        path = write_plan(folder, folder / "runs")
        run_plan(path, dataset, None, folder / "runs", folder / "out")
    return folder


def test_rehearsal_trains_teachers_then_students_and_leaves_an_archive_of_each(rehearsed):
    plan = json.loads((rehearsed / "out" / "plan.json").read_text())
    names = [row["run"] for row in plan["runs"]]
    assert names == ["teacher_sgd-seed5", "teacher_cutmix-seed6", "student-seed1", "student-seed2"]
    assert all(1 <= row["epochs"] <= 4 for row in plan["runs"])
    assert sorted(path.name for path in (rehearsed / "out").glob("*.npz")) == sorted(f"{name}.npz" for name in names)
    provenance = json.loads((rehearsed / "runs" / "student-seed2" / "provenance.json").read_text())
    assert [path.rpartition("/")[2] for path in provenance["parent_runs"]] == names[:2]


def test_weights_of_a_rehearsal_are_imported_and_exported(rehearsed, dataset, tmp_path):
    run, original = RunFolder(tmp_path / "student"), RunFolder(rehearsed / "runs" / "student-seed1")
    unpack(rehearsed / "out" / "student-seed1.npz", dataset, run)
    assert run.read_config() == original.read_config()
    manifest = export(run, dataset, tmp_path / "student.onnx")
    images = dataset[Split.PUBLIC_TEST].images
    logits = EmotionSession(tmp_path / "student.onnx", "cpu", 1).logits(images)
    np.testing.assert_allclose(logits, load_trained(original.path).predict(images)["logits"], atol=0.02)
    report = json.loads(run.report.read_text())
    assert report["PublicTest"]["accuracy"] == pytest.approx(manifest.metrics["PublicTest"].accuracy)
    assert manifest.provenance.config["parent_runs"] == original.read_provenance()["parent_runs"]


def test_archive_of_an_unfinished_run_has_its_best_weights(dataset, tmp_path):
    run = RunFolder(tmp_path / "run")
    plan_module.train(tiny_config(averaged_epochs=1), dataset, run, stop_after_epochs=1)
    pack(run, tmp_path / "run.npz")
    unpacked = RunFolder(tmp_path / "unpacked")
    unpack(tmp_path / "run.npz", dataset, unpacked)
    report = json.loads(unpacked.report.read_text())
    assert (report["epochs_done"], report["averaged_epochs"]) == (1, None)
    assert load_trained(unpacked.path).count_params() > 0


def test_damaged_archive_and_full_folder_are_refused(rehearsed, dataset, tmp_path):
    archive = rehearsed / "out" / "student-seed1.npz"
    with pytest.raises(TrainingError, match="is not an empty folder"):
        unpack(archive, dataset, RunFolder(rehearsed / "runs" / "student-seed1"))
    (tmp_path / "damaged.npz").write_bytes(archive.read_bytes()[:500])
    with pytest.raises(TrainingError, match="damaged"):
        unpack(tmp_path / "damaged.npz", dataset, RunFolder(tmp_path / "run"))


def test_epochs_fit_the_time_of_a_stage(dataset, tmp_path, monkeypatch):
    """A pilot epoch takes 1 s, and each of the two stages has 10 s or 20 s, of which 10 % is a reserve."""
    monkeypatch.setattr(plan_module.time, "monotonic", lambda: 0.0)
    trained = []

    def results(function, calls):
        if function.__name__ == "_train_and_pack":
            trained.extend(config.epochs for config, *_ in calls)
        return [1.0] * len(calls)

    monkeypatch.setattr(plan_module, "_results", results)
    path = write_plan(tmp_path, tmp_path)
    for name in ("teacher_sgd", "teacher_cutmix", "student"):
        config = tmp_path / f"{name}.toml"
        config.write_text(config.read_text().replace("epochs = 4", "epochs = 20", 1))
    run_plan(path, dataset, None, tmp_path, tmp_path, minutes=0.5)
    assert trained == [9, 9, 20, 20]


def test_failed_run_is_reported(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "call_in_subprocesses", call_in_this_process)
    path = write_plan(tmp_path, tmp_path / "none")
    plan_text = path.read_text().replace('"teacher_sgd.toml", "teacher_cutmix.toml"', '"student.toml"')
    path.write_text(plan_text)
    with pytest.raises(TrainingError, match="not a finished run"):
        run_plan(path, dataset, None, tmp_path / "runs", tmp_path / "out")


def test_plan_with_an_error_is_refused(tmp_path):
    (tmp_path / "plan.toml").write_text("name = 'x'\nminutes = 0\n")
    with pytest.raises(TrainingError, match=r"plan .*: minutes: .* Received: 0; stages: Field required"):
        load_plan(tmp_path / "plan.toml")


def test_config_with_other_epochs_scales_its_phases(tmp_path):
    write_plan(tmp_path, tmp_path)
    student = load_config(tmp_path / "student.toml")
    longer = student.with_epochs(40)
    assert [(step.epoch, step.size_px) for step in longer.progressive_sizes] == [(0, 24), (20, 48)]
    assert (longer.averaged_epochs, longer.sharpness_aware.last_epochs, longer.optimizer.warmup_epochs) == (20, 20, 10)
    assert student.with_epochs(1).progressive_sizes[-1].size_px == 48
    assert student.with_epochs(4) == student
