"""The command line of training: exit statuses, sentences in place of tracebacks, and options that replace a config."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import training.fit.train as train_module
from tests.support.datasets import edition_files, write_archive, write_votes
from tests.support.paths import REPOSITORY
from training import cli
from training.cli import options
from training.studies.smoke import generated_dataset

MODEL = str(REPOSITORY / "models/fer_vgg.onnx")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["explore", "--data", "none"], "error: none does not exist"),
        (["export", "none", "--data", "a.zip"], "expected 3995 angry"),
        (
            ["train", "--config", str(REPOSITORY / "training/configs/vgg.toml"), "--data", "a.zip"],
            "expected 3995 angry",
        ),
        (["card", "none.onnx"], "none.onnx does not exist"),
        (
            ["card", MODEL, "--to", "none/card.md"],
            "error: cannot read or write none/card.md: No such file or directory",
        ),
        (["card", MODEL, "--to", "card.md", "--seeds", "a.zip"], "a.zip is not an output file of `seeds`"),
    ],
)
def test_prints_errors_as_sentences(tmp_path, monkeypatch, capsys, arguments, sentence):
    write_archive(tmp_path / "a.zip", edition_files())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    assert cli.main() == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_seed_replaces_that_of_the_config(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(options, "load_fer2013", lambda source: None)
    monkeypatch.setattr(
        train_module, "train", lambda config, dataset, run, votes, **options: trained.append((config, run.path))
    )
    config = REPOSITORY / "training/configs/vgg_second.toml"
    votes = write_votes(tmp_path / "votes.csv", {"one": "0,9,1,0,0,0,0,0,0,0"})
    monkeypatch.setattr(
        sys, "argv", ["training", "train", "--config", str(config), "--seed", "2", "--votes", str(votes)]
    )
    assert cli.main() == 0
    ((config, folder),) = trained
    assert (config.seed, folder, config.warm_start) == (2, Path("runs/vgg_second-seed2"), Path("runs/vgg-seed2"))


def test_interrupted_says_how_to_continue(tmp_path, monkeypatch, capsys):
    def interrupt(source):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.data.labelled.fer2013_source.complete_fer2013", interrupt)
    monkeypatch.setattr(sys, "argv", ["training", "explore", "--out", str(tmp_path)])
    assert cli.main() == 130
    assert "repeat the command to continue" in capsys.readouterr().err


def test_process_ends_with_a_sentence_and_status_2(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "training", "train", "--config", "none.toml"],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: config none.toml cannot be read")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (["compare", "--jobs", "0"], "at least 1. Received: 0"),
        (["train", "--config", "x.toml", "--workers", "-1"], "at least 0. Received: -1"),
        (["train", "--config", "x.toml", "--seed", "one"], "at least 0. Received: one"),
        (["step-cost", "x.toml", "--teacher", "x", "--rounds", "1"], "at least 2. Received: 1"),
        (["compare", "--fair", "lenet"], "invalid choice: 'lenet'"),
        (["train", "--config", "x.toml", "--architecture", "lenet"], "invalid choice: 'lenet'"),
        (["plan", "x.toml", "--minutes", "0"], "greater than 0. Received: 0"),
        (["plan", "x.toml", "--minutes", "nan"], "greater than 0. Received: nan"),
        (["verifier", "mine", "x", "--to", "x.npz", "--per-picture", "0"], "at least 1. Received: 0"),
        (["fine-tune", "x.onnx", "--to", "x.onnx", "--data", "x", "--epochs", "0"], "at least 1. Received: 0"),
    ],
)
def test_value_out_of_its_range_is_refused_before_anything_is_read(monkeypatch, capsys, arguments, received):
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert received in capsys.readouterr().err


def test_path_that_cannot_be_written_ends_with_a_sentence(tmp_path, monkeypatch, capsys):
    occupied = tmp_path / "file"
    occupied.touch()
    monkeypatch.setattr("training.data.labelled.fer2013_source.load_fer2013", lambda source: generated_dataset())
    archive = write_archive(tmp_path / "a.zip", edition_files())
    monkeypatch.setattr(sys, "argv", ["training", "explore", "--data", str(archive), "--out", str(occupied / "out")])
    assert cli.main() == 2
    assert capsys.readouterr().err == f"error: cannot read or write {occupied / 'out'}: Not a directory\n"


def test_defect_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(source):
        raise OSError("a defect, not a path")

    monkeypatch.setattr("training.data.labelled.fer2013_source.complete_fer2013", fail)
    monkeypatch.setattr(sys, "argv", ["training", "explore"])
    with pytest.raises(OSError, match="a defect"):
        cli.main()


def test_json_of_fer2013_is_refused(tmp_path, monkeypatch, capsys):
    """The option is for own data: it must not be ignored in silence."""
    monkeypatch.setattr("training.cli.evaluation.complete_fer2013", lambda source: generated_dataset())
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["training", "evaluate", MODEL, "--split", "PublicTest", "--json", str(out)])
    assert cli.main() == 2
    assert "--json is for own data" in capsys.readouterr().err
