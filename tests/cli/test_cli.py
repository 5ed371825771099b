"""`python -m app.cli predict`: formats, failures, --resume, --draw and --jobs, also with the shipped model."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.cli.__main__ import main
from app.cli.draw import draw
from app.cli.files import find_files
from app.cli.output import CSV_COLUMNS
from app.contract.labels import LABELS
from app.domain import FaceBox, FaceEmotion, ImageResult, ModelName, StageTimings
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.heif_files import heic
from tests.support.image_files import encode
from tests.support.images import ASTRONAUT, encoded, picture
from tests.support.jpeg_files import flat_jpeg
from tests.support.paths import REPOSITORY, YUNET, needs_yunet


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


def test_json_has_one_line_per_image_in_order(fakes, folder, capsys):
    assert main(["predict", str(folder)]) == 0
    first, second = lines(capsys.readouterr().out)
    assert (first["path"], second["path"]) == (str(folder / "a.png"), str(folder / "deep" / "b.PNG"))
    assert [len(entry["faces"]) for entry in (first, second)] == [2, 0]
    assert list(first["faces"][0]["scores"]) == list(LABELS)
    assert second["warnings"] == ["no_face_detected"]


def test_min_detection_confidence_drops_less_certain_faces(fakes, folder, capsys):
    assert main(["predict", str(folder), "--min-detection-confidence", "0.99"]) == 0
    assert [entry["faces"] for entry in lines(capsys.readouterr().out)] == [[], []]


@pytest.mark.parametrize("value", ["-1", "1.1", "high"])
def test_min_detection_confidence_outside_0_to_1_is_refused(folder, value):
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(folder), "--min-detection-confidence", value])


def test_csv_has_one_row_per_face_and_one_for_an_image_without_faces(fakes, folder, capsys):
    assert main(["predict", str(folder), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["faces"], row["face"]) for row in rows] == [("2", "1"), ("2", "2"), ("0", "")]
    assert sum(float(rows[0][label]) for label in LABELS) == pytest.approx(1, abs=1e-3)
    assert rows[0]["confidence"] == rows[0][rows[0]["emotion"]]


def test_options_of_doubt_apply_to_every_image(fakes, folder, capsys):
    assert main(["predict", str(folder), "--csv", "--min-confidence", "1", "--coverage", "0.9"]) == 0
    first, _, empty = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert first["emotion"] == "uncertain"
    best = max(LABELS, key=lambda label: float(first[label]))
    assert first["prediction_set"].split(" ")[0] == best
    assert empty["prediction_set"] == ""


@pytest.mark.parametrize("option", [["--min-confidence", "1.5"], ["--coverage", "0.5"]])
def test_options_of_doubt_out_of_range_are_refused(fakes, folder, capsys, option):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(folder), *option])
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_failures_are_reported_and_set_the_exit_status(fakes, folder, capsys):
    (folder / "broken.jpg").write_bytes(b"no image")
    assert main(["predict", str(folder)]) == 1
    output = capsys.readouterr()
    assert len(lines(output.out)) == 2
    assert f"{folder / 'broken.jpg'}: expected a JPEG" in output.err
    assert "1 of 3 images failed" in output.err
    assert "Traceback" not in output.err


@pytest.mark.parametrize("shape", ["--json", "--csv"])
def test_resume_skips_completed_images_and_repairs_incomplete_ones(fakes, folder, tmp_path, monkeypatch, shape):
    output = tmp_path / "out"
    assert main(["predict", str(folder), shape, "--output", str(output)]) == 0
    whole = output.read_bytes()
    detected: list[str] = []
    predict = FakeDetector.detect
    monkeypatch.setattr(FakeDetector, "detect", lambda self, grey: detected.append("x") or predict(self, grey))
    resume = ["predict", str(folder), shape, "--output", str(output), "--resume"]
    assert main(resume) == 0
    assert (output.read_bytes(), detected) == (whole, [])
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for end in {0, 5, *ends, *(end - 9 for end in ends)}:  # between rows, and within each
        output.write_bytes(whole[:end])
        assert main(resume) == 0
        assert sorted(output.read_bytes().splitlines()) == sorted(whole.splitlines()), end
    assert detected


def test_resume_retries_failed_images(fakes, folder, tmp_path):
    broken, output = folder / "broken.png", tmp_path / "out"
    broken.write_bytes(b"no image")
    arguments = ["predict", str(folder), "--output", str(output)]
    assert main(arguments) == 1
    broken.write_bytes(encoded(picture(1)))
    assert main([*arguments, "--resume"]) == 0
    assert len(lines(output.read_text())) == 3


@pytest.mark.parametrize("content", ["something else\n", "something else", '{"no": "path"}\n', "[]\n"])
def test_resume_refuses_a_file_of_another_format(fakes, folder, tmp_path, content, capsys):
    output = tmp_path / "out"
    for shape in ("--json", "--csv"):
        output.write_text(content)
        assert main(["predict", str(folder), shape, "--output", str(output), "--resume"]) == 2
        assert str(output) in capsys.readouterr().err
        assert output.read_text() == content


def test_draw_marks_every_face_on_the_upright_image(fakes, folder, tmp_path):
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


def test_draw_reads_every_file_that_the_service_reads(fakes, tmp_path):
    colour = Image.fromarray(np.full((120, 160, 3), (200, 40, 40), np.uint8))
    text = PngInfo()
    text.add_text("Comment", "text")
    jpeg, png = encode(colour, "JPEG"), bytearray(encode(colour, "PNG", pnginfo=text))
    png[png.index(b"tEXt") + 4] ^= 1  # a wrong checksum in a chunk that the picture does not need
    files = {"a.heic": heic(colour), "b.jpg": jpeg[: jpeg.rindex(b"\xff\xd9")], "c.png": bytes(png)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "drawn"
    assert main(["predict", str(tmp_path), "--draw", str(out), "--no-detect"]) == 0
    for name in files:
        (drawn,) = out.rglob(f"{name}.jpg")
        with Image.open(drawn) as copy:
            assert copy.size == (160, 120)
            red, green, _ = copy.getpixel((80, 60))
        assert red > green + 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "fer: nowhere: No such file or directory"),
        (["training/configs"], "fer: expected at least one image or video. Received: training/configs"),
        (["tests/photos", "--resume"], "fer: expected --output FILE with --resume. Received: --resume only"),
    ],
)
def test_invalid_command_line_prints_a_message_and_returns_2(fakes, arguments, sentence, capsys):
    assert main(["predict", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_csv_can_be_written_to_a_pipe(fakes, folder, tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    assert main(["predict", str(folder), "--csv", "--output", str(pipe)]) == 0
    reader.join()
    assert received[0].startswith(",".join(CSV_COLUMNS) + "\n")


def test_full_disk_is_reported_in_words(fakes, folder, capsys):
    assert main(["predict", str(folder), "--output", "/dev/full"]) == 2
    assert "fer: cannot write the results: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("--jobs", "many", "a whole number of at least 1"),
        ("--max-faces", "0", "a whole number of at least 1"),
        ("--fps", "fast", "a number above 0, up to 1000"),
        ("--min-confidence", "nan", "a number from 0 to 1"),
        ("--smoothing", "", "a number from 0 to 1"),
    ],
)
def test_invalid_number_is_reported_with_the_expected_values(option, text, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "photo.jpg", option, text])
    assert f"argument {option}: expected {expected}. Received: {text}" in capsys.readouterr().err


def test_settings_of_the_service_apply(fakes, folder, monkeypatch, capsys):
    monkeypatch.setenv("FER_MODEL", "models/none.onnx")
    assert main(["predict", str(folder)]) == 2
    assert "models/none.onnx does not exist" in capsys.readouterr().err
    monkeypatch.setenv("FER_MODEL", "models/fer_vgg.onnx")
    monkeypatch.setenv("FER_MAX_PIXELS", "100")
    assert main(["predict", str(folder)]) == 1
    assert "at most 100 pixels" in capsys.readouterr().err


def test_file_on_the_command_line_needs_no_suffix_and_is_found_once(folder):
    odd = folder / "notes.txt"
    assert list(find_files([odd, folder, folder / "a.png"])) == [odd, folder / "a.png", folder / "deep" / "b.PNG"]


def test_two_processes_give_the_results_of_one_with_the_shipped_model(tmp_path, capsys):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(ASTRONAUT.read_bytes())
    (tmp_path / "d.jpg").write_bytes(b"no image")
    assert main(["predict", str(tmp_path)]) == 1
    alone = lines(capsys.readouterr().out)
    assert [entry["emotion"] for entry in alone] == ["happy"] * 3
    # A subprocess, because the imports of spawned workers depend on how the command was started.
    command = [sys.executable, "-m", "app.cli", "predict", str(tmp_path), "--jobs", "2"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert lines(ended.stdout) == alone
    assert "1 of 4 images failed" in ended.stderr


@pytest.mark.parametrize("shape", ["--json", "--csv"])
@pytest.mark.parametrize("name", [b"caf\xe9.png", "line\u2028separator.png".encode()])
def test_unusual_file_names_are_written_and_resumed(fakes, folder, tmp_path, shape, name, capfdbinary):
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


@pytest.mark.parametrize(("size", "reduction"), [((7000, 5000), 1), ((16_320, 12_240), 4)])
def test_draw_marks_the_face_of_a_large_jpeg_on_a_smaller_copy(tmp_path, size, reduction):
    source, drawn = tmp_path / "large.jpg", tmp_path / "drawn.jpg"
    source.write_bytes(flat_jpeg("L", *size))
    face = FaceEmotion(FaceBox(4000, 2000, 1600, 1600), 1.0, {}, "happy", 0.9)
    timings = StageTimings(0, 0, 0, 0, 0, 0)
    draw(source, ImageResult((face,), *size, ModelName("m", "1"), timings), drawn)
    with Image.open(drawn) as image:
        assert image.size == (size[0] // reduction, size[1] // reduction)
        red, green, _ = image.getpixel((4000 // reduction + 2, 2400 // reduction))  # left edge of the box
        assert green > red + 100
        assert image.getpixel((4800 // reduction, 2800 // reduction)) == (128, 128, 128)


def test_draw_keeps_the_grey_levels_of_16_bit_images(fakes, tmp_path):
    pixels = np.asarray(picture(1))
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    photo, out = tmp_path / "deep.png", tmp_path / "drawn"
    Image.fromarray(grey.astype(np.uint16) * 257).save(photo)
    assert main(["predict", str(photo), "--draw", str(out)]) == 0
    (drawn,) = out.rglob("*.jpg")
    with Image.open(drawn) as image:
        assert abs(float(np.asarray(image.convert("L"), dtype=float)[60:].mean()) - float(grey[60:].mean())) < 5


def test_closed_standard_output_ends_the_command_without_a_message(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(encoded(picture(0)))
    command = [sys.executable, "-m", "app.cli", "predict", str(tmp_path), "--no-detect"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
    process.stderr.close()


def test_detector_yunet_needs_its_file(capsys, monkeypatch):
    assert main(["predict", str(ASTRONAUT), "--detector", "yunet"]) == 2
    assert "FER_DETECTOR_MODEL" in capsys.readouterr().err
    monkeypatch.setenv("FER_DETECTOR_MODEL", "no/yunet.onnx")
    assert main(["predict", str(ASTRONAUT), "--detector", "yunet"]) == 2
    assert "no/yunet.onnx" in capsys.readouterr().err


@needs_yunet
def test_detector_yunet_finds_the_landmarks(capsys, monkeypatch):
    monkeypatch.setattr("app.main.open_session", lambda settings, threads: FakeClassifier())
    monkeypatch.setenv("FER_DETECTOR_MODEL", str(YUNET))
    assert main(["predict", str(ASTRONAUT), "--detector", "yunet"]) == 0
    (face,) = lines(capsys.readouterr().out)[0]["faces"]
    assert face["landmarks"]["right_eye"]["x"] < face["landmarks"]["left_eye"]["x"]
