"""`--draw` and `--plot` with videos: the annotated copy, also in Chromium, and the plot."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from app.cli.__main__ import main
from tests.e2e.browser import chromium, find_chromium
from tests.support.fakes import FakeClassifier, FakeDetector
from tests.support.paths import REPOSITORY
from tests.support.videos import scene, write_video

av = pytest.importorskip("av", reason="PyAV: see requirements/video.txt")

LEFT = (0, 1)
TIMES = (0.0, 0.1, 0.25, 0.5, 0.6, 0.61, 1.0, 1.5)
CHROMIUM = find_chromium()


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("FER_DEVICE", "cpu")
    monkeypatch.setattr("app.main.open_session", lambda settings, threads: FakeClassifier())
    monkeypatch.setattr("app.main.FaceDetector", FakeDetector)


@pytest.fixture
def video(tmp_path):
    frames = [(time_s, scene({LEFT: "happy"}, columns=8, rows=6)) for time_s in TIMES]
    return write_video(tmp_path / "clip.mkv", frames)


def drawn(video, tmp_path, *arguments):
    folder = tmp_path / "drawn"
    assert main(["predict", str(video), "--draw", str(folder), "--output", str(tmp_path / "rows"), *arguments]) == 0
    (copy,) = folder.rglob("*.webm")
    assert [path for path in folder.rglob("*") if path.is_file()] == [copy]
    return copy


def frames_of(path) -> list:
    with av.open(path) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["vp9"]
        return [(frame.time, frame.to_ndarray(format="rgb24").astype(int)) for frame in container.decode(video=0)]


def is_green(pixel: np.ndarray) -> bool:
    return pixel[1] > pixel[0] + 60


def test_copy_has_every_frame_at_its_time_with_the_boxes(video, tmp_path):
    frames = frames_of(drawn(video, tmp_path, "--fps", "2"))
    assert [time_s for time_s, _ in frames] == pytest.approx(TIMES, abs=0.002)
    for _, pixels in frames:
        assert pixels.shape == (240, 320, 3)
        assert is_green(pixels[79, 20])  # lower edge of the box
        assert not is_green(pixels[150, 200])


def test_boxes_move_between_samples(tmp_path):
    columns = [(time_s, scene({(column, 1): "happy"}, columns=8)) for time_s, column in ((0, 0), (0.1, 0), (0.2, 0))]
    moved = [(time_s, np.roll(pixels, round(time_s * 100), axis=1)) for time_s, pixels in columns]
    # The detector of the test finds faces in a grid, so a detector that follows the white centre replaces it.
    video = write_video(tmp_path / "clip.mkv", moved)

    from app.domain import Detection, FaceBox

    def detect(self, grey):
        centre = int(np.flatnonzero(grey[60] > 250).mean())
        return [Detection(FaceBox(centre - 20, 40, 40, 40), 0.98)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeDetector, "detect", detect)
        frames = frames_of(drawn(video, tmp_path))
    lefts = [int(np.flatnonzero(pixels[70, :, 1] > pixels[70, :, 0] + 60)[0]) for _, pixels in frames]
    assert lefts == pytest.approx([0, 10, 20], abs=1)


@pytest.mark.parametrize(("rotation", "size"), [(90, (240, 320)), (180, (320, 240))])
def test_copy_is_upright(tmp_path, rotation, size):
    upright = scene({LEFT: "happy"}, columns=8 if rotation == 180 else 6, rows=6 if rotation == 180 else 8)
    stored = np.rot90(upright, -rotation // 90)
    video = write_video(tmp_path / "clip.mp4", [(0, stored), (0.2, stored)], rotation=rotation)
    for _, pixels in frames_of(drawn(video, tmp_path)):
        assert pixels.shape[1::-1] == size
        assert is_green(pixels[79, 20])


def test_copy_of_a_large_video_is_smaller(tmp_path):
    video = write_video(tmp_path / "clip.mkv", [(0, scene({LEFT: "happy"}, columns=64, rows=36))])
    ((_, pixels),) = frames_of(drawn(video, tmp_path))
    assert pixels.shape == (720, 1280, 3)
    assert is_green(pixels[39, 10])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it, or name one in $CHROMIUM")
def test_copy_plays_in_chromium(video, tmp_path):
    copy = drawn(video, tmp_path)
    (copy.parent / "page.html").write_text(f"<video muted autoplay src='{copy.name}'></video>")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(copy.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, chromium(CHROMIUM) as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        page.wait_for_function("document.querySelector('video').ended", timeout=30_000)
        width, height, duration = page.evaluate(
            "(video => [video.videoWidth, video.videoHeight, video.duration])(document.querySelector('video'))"
        )
        server.shutdown()
    assert (width, height) == (320, 240)
    assert duration == pytest.approx(1.5, abs=0.2)


def test_resumed_run_draws_and_plots_the_whole_video(video, tmp_path):
    copy, plot = drawn(video, tmp_path), tmp_path / "plot.png"
    expected, rows = frames_of(copy), tmp_path / "rows"
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines[:3]))
    frames = frames_of(drawn(video, tmp_path, "--resume", "--plot", str(plot)))
    assert [pixels.tolist() for _, pixels in frames] == [pixels.tolist() for _, pixels in expected]
    assert plot.exists()


def test_plot_has_the_colour_of_the_emotion_at_its_time(tmp_path):
    frames = [(index / 5, scene({LEFT: "happy" if index < 10 else "sad"})) for index in range(20)]
    # The font has no Japanese letters. pytest makes a warning about them an error.
    video, plot = write_video(tmp_path / "日本.mp4", frames), tmp_path / "deep" / "plot.png"
    arguments = ["--plot", str(plot), "--smoothing", "0", "--output", str(tmp_path / "new" / "rows")]
    assert main(["predict", str(video), *arguments]) == 0
    with Image.open(plot) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    middle = pixels[round(len(pixels) * 0.55)]
    happy, sad = (np.flatnonzero(np.abs(middle - colour).sum(1) < 30) for colour in ((204, 187, 68), (102, 204, 238)))
    assert 0.3 < len(happy) / len(middle) < 0.6
    assert 0.3 < len(sad) / len(middle) < 0.6
    assert happy.max() < sad.min() + 60


@pytest.mark.parametrize("name", ["plot.svg", "plot.pdf"])
def test_suffix_selects_the_format_of_the_plot(video, tmp_path, name):
    assert main(["predict", str(video), "--plot", str(tmp_path / name), "--output", str(tmp_path / "rows")]) == 0
    assert (tmp_path / name).read_bytes()[:5] in {b"<?xml", b"%PDF-"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["{video}", "--plot", "plot.txt"],
            "expected a file name such as timeline.png with --plot. Received: plot.txt",
        ),
        (["tests/photos", "--plot", "plot.png"], "expected at least one video with --plot. Received: images only"),
    ],
)
def test_plot_that_cannot_be_made_is_refused_first(video, capsys, arguments, sentence):
    assert main(["predict", *(argument.format(video=video) for argument in arguments)]) == 2
    assert sentence in capsys.readouterr().err


def test_video_without_faces_is_drawn_and_plotted(tmp_path):
    video = write_video(tmp_path / "clip.mp4", [(0, scene({})), (0.2, scene({}))])
    assert len(frames_of(drawn(video, tmp_path, "--plot", str(tmp_path / "plot.png")))) == 2
