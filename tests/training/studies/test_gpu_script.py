"""The script for a GPU machine, rehearsed on the CPU: packed data in, archives of trained runs out."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from tests.support.datasets import edition_files, write_folders, write_votes
from tests.support.paths import REPOSITORY
from training.config import load_config
from training.data.fer2013 import load_fer2013
from training.fit.archive import unpack
from training.fit.run_folder import RunFolder
from training.studies.plan import load_plan

FOLDER = REPOSITORY / "training/configs/gpu"

# The command line for a small edition, which it would refuse as incomplete.
PYTHON = """#!{python}
import functools
import sys

import training.cli.options as options

options.load_fer2013 = functools.partial(options.load_fer2013, allow_incomplete=True)
if __name__ == "__main__":
    assert sys.argv[1:3] == ["-m", "training"]
    sys.argv = sys.argv[2:]
    from training.cli import main

    raise SystemExit(main())
"""
CONFIG = """name = "{name}"
seed = 1
epochs = 2
batch_size = 14
averaged_epochs = 1
[model]
architecture = "vgg"
widths = [4, 8]
[augment]
mixup_alpha = 1.0
[optimizer]
learning_rate = 0.01
[annotator_votes]
{rest}
"""
STUDENT = '[distillation]\nruns = ["runs/teacher-seed1"]\nimages = "augmented"\n[sharpness_aware]\nlast_epochs = 1\n'
PLAN = """name = "rehearsal"
minutes = 0.1
[[stages]]
share = 1
configs = ["teacher.toml"]
[[stages]]
share = 1
configs = ["student.toml"]
"""


@pytest.fixture
def packed(tmp_path):
    """The folder that prepare.sh writes, of a small edition and without wheels."""
    files = edition_files()
    unpacked = write_folders(tmp_path / "unpacked", files)
    write_votes(unpacked / "ferplus_votes.csv", dict.fromkeys(files, "0,9,0,0,1,0,0,0,0,0"))
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "data.tar.xz", "w:xz") as archive:
        archive.add(unpacked, ".")
    return tmp_path / "packed"


@pytest.mark.slow
def test_script_trains_the_plan_and_its_weights_are_exported(packed, tmp_path):
    for name, text in {
        "teacher.toml": CONFIG.format(name="teacher", rest=""),
        "student.toml": CONFIG.format(name="student", rest=STUDENT),
        "plan.toml": PLAN,
    }.items():
        (tmp_path / name).write_text(text)
    python = tmp_path / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    environment = {
        "PYTHON": str(python),
        "PLAN": str(tmp_path / "plan.toml"),
        "PYTHONPATH": str(REPOSITORY),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    script = REPOSITORY / "training/gpu/run.sh"
    done = subprocess.run(
        [script, packed, tmp_path / "out", "--workers", "1"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    archives = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert archives == ["plan.json", "student-seed1.npz", "teacher-seed1.npz"]
    dataset = load_fer2013(tmp_path / "unpacked", cache_dir=tmp_path / "cache", allow_incomplete=True)
    run = RunFolder(tmp_path / "student")
    unpack(tmp_path / "out" / "student-seed1.npz", dataset, run)
    assert "runs/teacher-seed1" in run.read_provenance()["parent_runs"]


def test_archives_of_the_plan_fit_the_limits_of_a_transfer():
    """At most 8 files of 16 MiB each, with plan.json, which is small."""
    from training.architectures.heads import build_with_heads

    configs = [config for stage in load_plan(FOLDER / "plan.toml").recipes(FOLDER) for config in stage]
    sizes = [
        sum(np.prod(weight.shape) * (2 if len(weight.shape) > 1 else 4) for weight in build_with_heads(config).weights)
        for config in configs
    ]
    assert len(sizes) <= 7
    assert max(sizes) < 15.5 * 2**20
    assert sum(sizes) < 63 * 2**20


def test_students_of_the_plan_read_its_teachers():
    teachers, students = load_plan(FOLDER / "plan.toml").recipes(FOLDER)
    folders = {f"runs/{config.name}-seed{config.seed}" for config in teachers}
    for student in students:
        assert {str(run) for run in student.distillation.runs} == folders
    assert len({student.seed for student in students}) == len(students)


@pytest.mark.parametrize("path", sorted((FOLDER.parent / "distillation").glob("*.toml")), ids=lambda path: path.stem)
def test_parents_of_a_distillation_config_are_shipped_or_have_a_config(path):
    recipes = [*path.parent.glob("*.toml"), *path.parents[1].glob("*.toml")]
    runs = {f"runs/{config.name}-seed{config.seed}" for config in map(load_config, recipes)}
    for parent in load_config(path).parent_runs:
        assert str(parent) in runs or (parent.parts[0] == "models" and (REPOSITORY / parent).exists())
