"""`python -m app.cli predict` with videos: rows right in time and identity, damaged files, --resume, --jobs."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import termios

import numpy as np
import pytest

from app.cli.__main__ import main
from app.cli.output import VIDEO_COLUMNS
from app.contract.labels import LABELS
from tests.support.fakes import FakeDetector
from tests.support.images import ASTRONAUT, encoded, picture
from tests.support.paths import REPOSITORY
from tests.support.videos import scene, write_audio, write_video

pytest.importorskip("av", reason="PyAV: see requirements/video.txt")

LEFT, RIGHT = (0, 1), (3, 2)


def clip(path, times=tuple(index / 25 for index in range(75)), **options):
    """Write a clip: from 0 s a sad face at the left; from 1 s a happy face at the right, except from 1.6 to 2.2 s."""

    def faces(time_s):
        right = {RIGHT: "happy"} if 1 <= time_s < 1.6 or time_s >= 2.2 else {}
        return {LEFT: "sad"} | right

    return write_video(path, ((time_s, scene(faces(time_s))) for time_s in times), **options)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def predicted(path, capsys, *arguments) -> list[dict[str, str]]:
    assert main(["predict", str(path), "--csv", *arguments]) == 0
    return rows_of(capsys.readouterr().out)


def test_rows_are_right_in_time_place_and_identity(fakes, tmp_path, capsys):
    rows = predicted(clip(tmp_path / "clip.mp4"), capsys)
    assert tuple(rows[0]) == VIDEO_COLUMNS
    left, right = ([row for row in rows if row["track"] == track] for track in ("1", "2"))
    assert len(left) + len(right) == len(rows)
    assert [float(row["time_s"]) for row in left] == pytest.approx([step / 5 for step in range(15)], abs=0.001)
    times = [float(row["time_s"]) for row in right]
    assert times == pytest.approx([1, 1.2, 1.4, 2.2, 2.4, 2.6, 2.8], abs=0.001)  # one track in spite of the gap
    assert {row["emotion"] for row in left} == {row["smoothed_emotion"] for row in left} == {"sad"}
    assert {row["emotion"] for row in right} == {"happy"}
    assert {(row["x"], row["y"], row["width"], row["height"]) for row in left} == {("0", "40", "40", "40")}
    assert {(row["x"], row["y"], row["width"], row["height"]) for row in right} == {("120", "80", "40", "40")}
    assert [int(row["frame"]) for row in left] == list(range(1, 75, 5))
    for prefix in ("", "smoothed_"):
        assert sum(float(rows[0][prefix + label]) for label in LABELS) == pytest.approx(1, abs=1e-3)


def test_smoothed_scores_follow_a_change_of_emotion_later(fakes, tmp_path, capsys):
    frames = [(index / 5, scene({LEFT: "sad" if index < 5 else "happy"})) for index in range(10)]
    rows = predicted(write_video(tmp_path / "clip.mp4", frames), capsys, "--smoothing", "0.9")
    assert [row["emotion"] for row in rows] == ["sad"] * 5 + ["happy"] * 5
    assert rows[5]["smoothed_emotion"] == "sad"
    assert rows[9]["smoothed_emotion"] == "happy"


def test_times_of_a_variable_frame_rate_are_those_of_the_file(fakes, tmp_path, capsys):
    times = [0, 0.05, 0.5, 0.52, 0.54, 1.99, 2.0, 2.01, 2.02, 2.75]
    rows = predicted(clip(tmp_path / "clip.mkv", times), capsys)
    sampled = [float(row["time_s"]) for row in rows if row["track"] == "1"]
    assert sampled == pytest.approx([0, 0.5, 1.99, 2.0, 2.75], abs=0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mts", ".avi", ".mov"])
def test_times_start_at_zero_in_every_container(fakes, tmp_path, capsys, suffix):
    rows = predicted(clip(tmp_path / f"clip{suffix}", bf=0), capsys)
    assert [float(row["time_s"]) for row in rows if row["track"] == "1"][:3] == pytest.approx([0, 0.2, 0.4], abs=0.041)


@pytest.mark.parametrize("suffix", [".mkv", ".mts"])
def test_times_start_at_zero_if_those_of_the_file_do_not(fakes, tmp_path, capsys, suffix):
    times = [10 + index / 25 for index in range(25)]
    rows = predicted(clip(tmp_path / f"clip{suffix}", times, bf=0), capsys)
    assert [float(row["time_s"]) for row in rows if row["track"] == "1"][:3] == pytest.approx([0, 0.2, 0.4], abs=0.041)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_of_the_metadata_is_applied(fakes, tmp_path, capsys, rotation):
    upright = scene({LEFT: "fear", RIGHT: "happy"})
    stored = np.rot90(upright, -rotation // 90)
    write_video(tmp_path / "turned.mp4", [(0, stored), (0.2, stored)], rotation=rotation)
    write_video(tmp_path / "upright.mp4", [(0, upright), (0.2, upright)])
    turned, expected = (predicted(tmp_path / name, capsys) for name in ("turned.mp4", "upright.mp4"))
    assert [row | {"path": ""} for row in turned] == [row | {"path": ""} for row in expected]


def test_wide_pixels_become_square(fakes, tmp_path, capsys):
    narrow = scene({LEFT: "sad", RIGHT: "happy"})[:, ::2]
    rows = predicted(write_video(tmp_path / "clip.mp4", [(0, narrow)], aspect="2/1"), capsys)
    assert {row["x"] for row in rows} == {"0", "120"}


def test_frames_of_8k_are_searched_at_half_size_and_boxes_are_in_full_pixels(fakes, tmp_path, capsys):
    frame = np.kron(scene({LEFT: "sad"}, columns=96, rows=54), np.ones((2, 2), np.uint8))
    (row,) = predicted(write_video(tmp_path / "clip.mkv", [(0, frame)]), capsys)
    assert [row[name] for name in ("x", "y", "width", "height")] == ["0", "80", "80", "80"]


@pytest.mark.parametrize(("fps", "samples"), [("1", 3), ("12.5", 38), ("100", 75)])
def test_fps_is_the_number_of_samples_per_second(fakes, tmp_path, capsys, fps, samples):
    rows = predicted(clip(tmp_path / "clip.mp4"), capsys, "--fps", fps)
    assert len([row for row in rows if row["track"] == "1"]) == samples
    assert {row["track"] for row in rows} == {"1", "2"}  # tracks last between samples, however few they are


def test_track_lasts_for_a_missed_sample_at_a_low_rate(fakes, tmp_path, capsys):
    frames = [(2 * index, scene({} if index == 2 else {LEFT: "sad"})) for index in range(5)]
    rows = predicted(write_video(tmp_path / "clip.mkv", frames), capsys, "--fps", "0.5")
    assert [row["track"] for row in rows] == ["1", "1", "", "1", "1"]


def test_frame_without_faces_has_one_row(fakes, tmp_path, capsys):
    (row,) = predicted(write_video(tmp_path / "clip.mp4", [(0, scene({}))]), capsys)
    assert (row["faces"], row["time_s"], row["track"]) == ("0", "0.0", "")


def test_json_has_one_line_per_sample(fakes, tmp_path, capsys):
    assert main(["predict", str(clip(tmp_path / "clip.mp4")), "--coverage", "0.9", "--min-confidence", "0.99"]) == 0
    samples = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(sample["faces"]) for sample in samples] == [1] * 5 + [2] * 3 + [1] * 3 + [2] * 4
    face = samples[5]["faces"][0]
    assert samples[5]["image"] == {"width": 160, "height": 120}
    assert list(face["smoothed_scores"]) == list(LABELS)
    assert (face["track"], face["emotion"], face["smoothed_emotion"]) == (1, "uncertain", "uncertain")
    assert face["prediction_set"]


def test_images_and_videos_of_a_folder_share_the_columns(fakes, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(encoded(picture(2)))
    clip(tmp_path / "clip.mp4", (0.0,))
    rows = predicted(tmp_path, capsys)
    assert [(row["path"][-5:], row["frame"], row["track"]) for row in rows] == [
        ("a.png", "", ""),
        ("a.png", "", ""),
        ("p.mp4", "1", "1"),
    ]


@pytest.mark.parametrize("shape", ["--csv", "--json"])
@pytest.mark.parametrize("name", ["clip.mp4", "a:b \u2028.mkv"])
def test_resume_continues_within_a_video(fakes, tmp_path, capsys, monkeypatch, shape, name):
    first, second, output = clip(tmp_path / name), clip(tmp_path / "second.mkv", (0, 0.3, 0.6)), tmp_path / "out"
    arguments = ["predict", str(first), str(second), shape, "--output", str(output)]
    assert main(arguments) == 0
    whole = output.read_bytes()
    detected: list[str] = []
    detect = FakeDetector.detect
    monkeypatch.setattr(FakeDetector, "detect", lambda self, grey: detected.append("x") or detect(self, grey))
    assert main([*arguments, "--resume"]) == 0
    assert (output.read_bytes(), detected) == (whole, [])
    for end in (0, len(whole) // 3, len(whole) // 2, len(whole) - 300, len(whole) - 1):
        output.write_bytes(whole[:end])
        assert main([*arguments, "--resume"]) == 0
        assert output.read_bytes() == whole, end
        assert detected
        detected.clear()


def test_resume_does_not_take_a_new_video_for_the_end_of_the_interrupted_one(fakes, tmp_path):
    video, output = clip(tmp_path / "b.mp4"), tmp_path / "out"
    assert main(["predict", str(tmp_path), "--csv", "--output", str(output)]) == 0
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    clip(tmp_path / "a.mp4", (0.0,))
    assert main(["predict", str(tmp_path), "--csv", "--output", str(output), "--resume"]) == 0
    assert output.read_bytes().startswith(whole)
    assert rows_of(output.read_text())[-1]["path"] != str(video)


def test_damaged_end_gives_the_rows_before_it_and_a_warning(fakes, tmp_path, capsys):
    video = clip(tmp_path / "clip.mkv", g=5)
    expected = predicted(video, capsys)
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 6 // 10])
    assert main(["predict", str(video), "--csv"]) == 0
    captured = capsys.readouterr()
    rows = rows_of(captured.out)
    assert 5 < len(rows) < len(expected)
    assert rows == expected[: len(rows)]
    assert f"{video}: " in captured.err
    assert "the pictures end at" in captured.err or "damaged" in captured.err


def test_damaged_middle_is_skipped_and_later_times_are_right(fakes, tmp_path, capsys):
    video = clip(tmp_path / "clip.mts", g=5, bf=0)
    data = bytearray(video.read_bytes())
    start, end = len(data) * 4 // 10, len(data) * 5 // 10
    data[start:end] = bytes(end - start)
    video.write_bytes(data)
    assert main(["predict", str(video), "--csv"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert float(rows[-1]["time_s"]) == pytest.approx(2.8, abs=0.05)
    assert all(float(row["time_s"]) >= 0.99 for row in rows if row["emotion"] == "happy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a video. Received: an empty file"),
        (b"no video", "expected a video"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n", "expected a video"),  # opens other files
    ],
)
def test_file_that_is_no_video_fails_and_the_others_go_on(fakes, tmp_path, capsys, content, message):
    (tmp_path / "a.mp4").write_bytes(content)
    write_audio(tmp_path / "b.mp4")
    clip(tmp_path / "c.mp4")
    assert main(["predict", str(tmp_path), "--csv"]) == 1
    captured = capsys.readouterr()
    assert {row["path"] for row in rows_of(captured.out)} == {str(tmp_path / "c.mp4")}
    assert f"a.mp4: {message}" in captured.err
    assert "b.mp4: expected a video. Received: a file without pictures, such as audio only" in captured.err
    assert "2 of 3 videos failed" in captured.err
    assert "Traceback" not in captured.err


def test_list_of_other_files_is_not_opened(fakes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names in a list are relative
    (tmp_path / "models").symlink_to(REPOSITORY / "models")
    clip(tmp_path / "secret.mkv")
    (tmp_path / "clip.mp4").write_text("ffconcat version 1.0\nfile secret.mkv\n")
    assert main(["predict", "clip.mp4"]) == 1
    assert "clip.mp4: expected a video" in capsys.readouterr().err


def test_bar_on_a_terminal_shows_the_time_left(tmp_path):
    video = write_video(tmp_path / "clip.mp4", [(index / 5, scene({})) for index in range(15)])
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    command = [sys.executable, "-m", "app.cli", "predict", str(video), "--output", str(tmp_path / "rows")]
    subprocess.run(command, cwd=REPOSITORY, stderr=terminal, check=True)
    os.close(terminal)
    shown = os.read(controller, 1_000_000).decode()
    os.close(controller)
    assert re.search(r"100%\|.*\| 3/3 s of video, \d\d:\d\d passed, 00:00 left", shown), shown


def test_limits_of_the_service_apply_to_frames(fakes, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FER_MAX_PIXELS", "100")
    assert main(["predict", str(clip(tmp_path / "clip.mp4"))]) == 1
    assert "at most 100 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "arguments"), [("av", []), ("matplotlib", ["--plot", "timeline.png"])])
def test_missing_package_is_named_before_the_first_file(fakes, tmp_path, capsys, monkeypatch, package, arguments):
    find_spec = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else find_spec(name))
    assert main(["predict", str(clip(tmp_path / "clip.mp4")), *arguments]) == 2
    error = capsys.readouterr().err
    assert package in error
    assert "python -m pip install -r requirements/video.txt" in error


def test_two_processes_give_the_rows_of_one_with_the_shipped_model(tmp_path, capsys):
    import cv2

    photo = cv2.resize(cv2.imread(str(ASTRONAUT), cv2.IMREAD_GRAYSCALE), (256, 256))
    wide = np.full((256, 400), 90, np.uint8)
    frames = []
    for index in range(12):
        frame = wide.copy()
        frame[:, index * 8 : index * 8 + 256] = photo
        frames.append((index / 6, frame))
    video = write_video(tmp_path / "clip.mp4", frames)
    alone = predicted(video, capsys)
    assert len(alone) == 10
    assert {(row["track"], row["emotion"]) for row in alone} == {("1", "happy")}
    steps = np.diff([int(row["x"]) + int(row["width"]) / 2 for row in alone])
    assert steps.sum() == pytest.approx(8 * 11, abs=8)
    command = [sys.executable, "-m", "app.cli", "predict", str(video), "--csv", "--jobs", "2"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert rows_of(ended.stdout) == alone
