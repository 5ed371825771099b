"""`python -m app.cli predict`: formats, failures, resuming, drawing, and many processes, with the shipped model."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from app.cli.__main__ import main
from app.cli.files import find_images
from app.cli.output import CSV_COLUMNS
from app.contract.labels import LABELS
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.images import ASTRONAUT, encoded, picture
from tests.support.paths import REPOSITORY


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("FER_DEVICE", "cpu")


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setattr("app.main.open_session", lambda settings, threads: FakeClassifier())
    monkeypatch.setattr("app.cli.worker.FaceDetector", FakeDetector)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "photos"
    (place / "deep").mkdir(parents=True)
    (place / "a.png").write_bytes(encoded(picture(2)))
    (place / "deep" / "b.PNG").write_bytes(encoded(picture(0)))
    (place / "notes.txt").write_text("no image")
    return place


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_a_line_an_image_in_order(fakes, folder, capsys):
    assert main(["predict", str(folder)]) == 0
    first, second = lines(capsys.readouterr().out)
    assert (first["path"], second["path"]) == (str(folder / "a.png"), str(folder / "deep" / "b.PNG"))
    assert [len(entry["faces"]) for entry in (first, second)] == [2, 0]
    assert list(first["faces"][0]["scores"]) == list(LABELS)
    assert second["warnings"] == ["no_face_detected"]


def test_csv_is_a_row_a_face_and_one_for_an_image_without(fakes, folder, capsys):
    assert main(["predict", str(folder), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["faces"], row["face"]) for row in rows] == [("2", "1"), ("2", "2"), ("0", "")]
    assert sum(float(rows[0][label]) for label in LABELS) == pytest.approx(1, abs=1e-3)
    assert rows[0]["confidence"] == rows[0][rows[0]["emotion"]]


def test_failures_are_sentences_and_the_exit_status(fakes, folder, capsys):
    (folder / "broken.jpg").write_bytes(b"no image")
    assert main(["predict", str(folder)]) == 1
    output = capsys.readouterr()
    assert len(lines(output.out)) == 2
    assert f"{folder / 'broken.jpg'}: expected a JPEG" in output.err
    assert "1 of 3 images failed" in output.err
    assert "Traceback" not in output.err


@pytest.mark.parametrize("shape", ["--json", "--csv"])
def test_resume_skips_what_is_there_and_mends_what_was_cut(fakes, folder, tmp_path, monkeypatch, shape):
    output = tmp_path / "out"
    assert main(["predict", str(folder), shape, "--output", str(output)]) == 0
    whole = output.read_bytes()
    asked: list[str] = []
    predict = FakeDetector.detect
    monkeypatch.setattr(FakeDetector, "detect", lambda self, grey: asked.append("x") or predict(self, grey))
    again = ["predict", str(folder), shape, "--output", str(output), "--resume"]
    assert main(again) == 0
    assert (output.read_bytes(), asked) == (whole, [])
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for end in {0, 5, *ends, *(end - 9 for end in ends)}:  # between rows, and within each
        output.write_bytes(whole[:end])
        assert main(again) == 0
        assert sorted(output.read_bytes().splitlines()) == sorted(whole.splitlines()), end
    assert asked


def test_resume_tries_failed_images_again(fakes, folder, tmp_path):
    broken, output = folder / "broken.png", tmp_path / "out"
    broken.write_bytes(b"no image")
    arguments = ["predict", str(folder), "--output", str(output)]
    assert main(arguments) == 1
    broken.write_bytes(encoded(picture(1)))
    assert main([*arguments, "--resume"]) == 0
    assert len(lines(output.read_text())) == 3


@pytest.mark.parametrize("content", ["something else\n", '{"no": "path"}\n', "[]\n"])
def test_resume_refuses_a_file_of_another_kind(fakes, folder, tmp_path, content, capsys):
    output = tmp_path / "out"
    for shape in ("--json", "--csv"):
        output.write_text(content)
        assert main(["predict", str(folder), shape, "--output", str(output), "--resume"]) == 2
        assert str(output) in capsys.readouterr().err
        assert output.read_text() == content


def test_draw_frames_every_face_on_the_upright_photograph(fakes, folder, tmp_path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    stored = np.rot90(picture(1))
    (folder / "turned.jpg").write_bytes(encoded(stored, "JPEG", quality=100, exif=exif))
    out = tmp_path / "drawn"
    assert main(["predict", str(folder), "--draw", str(out)]) == 0
    drawn = sorted(out.rglob("*.jpg"))
    assert [path.name for path in drawn] == ["a.png.jpg", "b.PNG.jpg", "turned.jpg.jpg"]
    with Image.open(drawn[2]) as upright:
        pixels = np.asarray(upright, dtype=int)
    assert pixels.shape == (120, 160, 3)
    frame = pixels[39, 10:30]  # the lower edge of the box
    assert (frame[:, 1] - frame[:, 0] > 100).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["training/configs"], "there is no image file"),
        (["tests/photos", "--resume"], "--resume needs --output"),
    ],
)
def test_what_cannot_begin_is_a_sentence_and_status_2(fakes, arguments, sentence, capsys):
    assert main(["predict", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_settings_of_the_service_hold(fakes, folder, monkeypatch, capsys):
    monkeypatch.setenv("FER_MODEL", "models/none.onnx")
    assert main(["predict", str(folder)]) == 2
    assert "models/none.onnx does not exist" in capsys.readouterr().err
    monkeypatch.setenv("FER_MODEL", "models/fer_vgg.onnx")
    monkeypatch.setenv("FER_MAX_PIXELS", "100")
    assert main(["predict", str(folder)]) == 1
    assert "at most 100 pixels" in capsys.readouterr().err


def test_a_file_named_itself_is_taken_whatever_its_name_and_once(folder):
    odd = folder / "notes.txt"
    assert list(find_images([odd, folder, folder / "a.png"])) == [odd, folder / "a.png", folder / "deep" / "b.PNG"]


def test_many_processes_answer_as_one_with_the_shipped_model(tmp_path, capsys):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(ASTRONAUT.read_bytes())
    (tmp_path / "d.jpg").write_bytes(b"no image")
    assert main(["predict", str(tmp_path)]) == 1
    alone = lines(capsys.readouterr().out)
    assert [entry["emotion"] for entry in alone] == ["happy"] * 3
    # As a user starts it: what a spawned process can import depends on it.
    command = [sys.executable, "-m", "app.cli", "predict", str(tmp_path), "--jobs", "2"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert lines(ended.stdout) == alone
    assert "1 of 4 images failed" in ended.stderr


@pytest.mark.parametrize("shape", ["--json", "--csv"])
@pytest.mark.parametrize("name", [b"caf\xe9.png", "line\u2028separator.png".encode()])
def test_names_of_any_kind_are_written_and_resumed(fakes, folder, tmp_path, shape, name, capfdbinary):
    strange = folder / os.fsdecode(name)
    strange.write_bytes(encoded(picture(1)))
    output = tmp_path / "out"
    arguments = ["predict", str(folder), shape, "--output", str(output)]
    assert main(arguments) == 0
    written = output.read_bytes()
    assert main([*arguments, "--resume"]) == 0
    assert output.read_bytes() == written
    if shape == "--json":
        assert str(strange) in {json.loads(line)["path"] for line in written.decode().split("\n")[:-1]}
    assert main(["predict", str(folder), shape]) == 0
    assert capfdbinary.readouterr().out == written


def test_draw_keeps_the_greys_of_sixteen_bits(fakes, tmp_path):
    pixels = np.asarray(picture(1))
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    photo, out = tmp_path / "deep.png", tmp_path / "drawn"
    Image.fromarray(grey.astype(np.uint16) * 257).save(photo)
    assert main(["predict", str(photo), "--draw", str(out)]) == 0
    (drawn,) = out.rglob("*.jpg")
    with Image.open(drawn) as image:
        assert abs(float(np.asarray(image.convert("L"), dtype=float)[60:].mean()) - float(grey[60:].mean())) < 5


def test_reader_that_leaves_ends_the_run_quietly(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(encoded(picture(0)))
    command = [sys.executable, "-m", "app.cli", "predict", str(tmp_path), "--no-detect"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
    process.stderr.close()
