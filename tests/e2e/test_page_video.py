"""Videos on the page, in Chromium against a running service: frames, timeline, downloads."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import CLIP_PART_S, TIMEOUT_MS, expect_error, expect_faces, needs_chromium, opened
from tests.support.process import service_process

pytestmark = needs_chromium


def play(page: Page, video: Path) -> None:
    """Choose a video, record the frames that the page sends, and wait for the end of the video."""
    page.evaluate(
        """() => {
            const send = WebSocket.prototype.send;
            window.sent = [];
            WebSocket.prototype.send = function (data) {
                window.sent.push(data.type);
                return send.call(this, data);
            };
        }"""
    )
    page.set_input_files("#file", video)
    wait_for_end(page)


def wait_for_end(page: Page) -> None:
    page.wait_for_function("() => document.getElementById('video').ended", timeout=TIMEOUT_MS)
    page.wait_for_timeout(500)  # until the last answer arrived


def frames_of(page: Page) -> list[str]:
    """Return the media type of each message that the page sent over a WebSocket."""
    return page.evaluate("window.sent")


def download(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("group", name="Download").get_by_role("button", name=name).click()
    return Path(waiting.value.path()).read_bytes()


def go_to(page: Page, time_s: float) -> None:
    """Click the timeline at a time of the video."""
    area = page.locator("#position").bounding_box()
    share = time_s / (3 * CLIP_PART_S)
    page.mouse.click(area["x"] + area["width"] * share, area["y"] + area["height"] / 2)


def test_video_is_analysed_frame_by_frame_and_never_uploaded(page, pictures):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method))
    play(page, pictures / "clip.webm")
    frames = frames_of(page)
    assert len(frames) > 5
    assert set(frames) == {"image/jpeg"}
    assert "POST" not in requests
    expect_faces(page, 2)


def play_slowly(page: Page) -> None:
    """Play the next video at half its speed, so that a busy machine analyses enough frames."""
    page.evaluate("() => { document.getElementById('video').defaultPlaybackRate = 0.5; }")


def test_rows_of_the_csv_are_right_in_time_and_identity(page, pictures):
    play_slowly(page)
    play(page, pictures / "clip.webm")
    rows = list(csv.DictReader(io.StringIO(download(page, "CSV").decode())))
    times = {track: [float(row["time_s"]) for row in rows if row["track"] == track] for track in ("1", "2")}
    assert {row["track"] for row in rows} == {"1", "2"}
    assert CLIP_PART_S - 0.01 <= min(times["1"]) < CLIP_PART_S + 0.6
    assert 2 * CLIP_PART_S - 0.01 <= min(times["2"]) < 2 * CLIP_PART_S + 1
    assert {row["emotion"] for row in rows} == {"happy"}
    assert all(int(row["x"]) < 300 for row in rows if row["track"] == "1")
    document = json.loads(download(page, "JSON"))
    assert document["path"] == "clip.webm"
    assert document["image"] == {"width": 640, "height": 360}
    assert sum(len(frame["faces"]) for frame in document["frames"]) == len(rows)
    assert any(frame["faces"] == [] for frame in document["frames"])  # the first part was analysed, too


def test_click_on_the_timeline_shows_the_recorded_faces(page, pictures):
    play(page, pictures / "clip.webm")
    sent = len(frames_of(page))
    go_to(page, 1.5 * CLIP_PART_S)
    expect_faces(page, 1)
    expect(page.locator("#summary")).to_contain_text("One face. It looks happy")
    go_to(page, 2.7 * CLIP_PART_S)
    expect_faces(page, 2)
    go_to(page, 0.5 * CLIP_PART_S)
    expect_faces(page, 0)
    position = page.get_by_role("slider", name="Position in the video")
    assert float(position.input_value()) == pytest.approx(0.5 * CLIP_PART_S, abs=0.2)
    assert position.get_attribute("aria-valuetext") == "0:00 of 0:04"
    assert len(frames_of(page)) == sent


def delay_answers(page: Page, delay_ms: int) -> None:
    """Simulate a slow service: deliver each answer later."""
    page.evaluate(
        """(delay_ms) => {
            const listen = WebSocket.prototype.addEventListener;
            WebSocket.prototype.addEventListener = function (name, callback) {
                const late = name === "message" ? (event) => setTimeout(callback, delay_ms, event) : callback;
                return listen.call(this, name, late);
            };
        }""",
        delay_ms,
    )


def test_last_frame_is_analysed_by_a_slow_service_too(page, pictures):
    delay_answers(page, 3000)
    page.set_input_files("#file", pictures / "clip.webm")
    page.wait_for_function("() => document.getElementById('video').ended", timeout=TIMEOUT_MS)
    page.wait_for_timeout(8000)  # two answers
    rows = list(csv.DictReader(io.StringIO(download(page, "CSV").decode())))
    assert float(rows[-1]["time_s"]) == pytest.approx(3 * CLIP_PART_S, abs=0.1)


def test_late_answer_does_not_replace_the_faces_of_another_time(page, pictures):
    delay_answers(page, 700)
    page.set_input_files("#file", pictures / "clip.webm")
    page.wait_for_function("() => document.getElementById('video').ended", timeout=TIMEOUT_MS)
    go_to(page, 1.5 * CLIP_PART_S)
    page.wait_for_timeout(1500)  # until the answers to the last frames, which show two faces, arrived
    expect_faces(page, 1)


def test_summary_and_cards_of_a_playing_video_agree(page, pictures):
    page.evaluate(
        """() => {
            window.seen = [];
            const [faces, summary] = ["faces", "summary"].map((id) => document.getElementById(id));
            const record = () => window.seen.push([faces.children.length, summary.textContent]);
            new MutationObserver(record).observe(faces, { childList: true });
        }"""
    )
    play(page, pictures / "clip.webm")
    begins = {0: "No face found", 1: "One face", 2: "2 faces"}
    seen = page.evaluate("window.seen")
    assert {count for count, _ in seen} >= {1, 2}
    assert [text for count, text in seen if not text.startswith(begins[count])] == []
    assert page.locator(".face .number").all_text_contents() == ["Face 1", "Face 2"]


def test_replay_sends_no_frame_again(page, pictures):
    play(page, pictures / "clip.webm")
    sent = len(frames_of(page))
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => !document.getElementById('video').ended")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    wait_for_end(page)
    assert len(frames_of(page)) <= sent + 2  # gaps of more than a second on a busy machine


def test_face_keeps_its_number_through_a_pause_and_a_new_stream(page, pictures):
    page.set_input_files("#file", pictures / "clip.webm")
    expect_faces(page, 1)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(1500)  # the service forgets a face that is missing for a second
    page.get_by_label("Smoothing").press("ArrowRight")  # opens a new stream, which numbers its faces from 1 again
    page.get_by_label("Smoothing").press("ArrowRight")
    page.get_by_role("button", name="Play").click()
    wait_for_end(page)
    rows = csv.DictReader(io.StringIO(download(page, "CSV").decode()))
    assert {row["track"] for row in rows} == {"1", "2"}


def test_timeline_has_a_coloured_row_for_each_face(page, pictures):
    play_slowly(page)
    play(page, pictures / "clip.webm")
    assert page.locator("#tracks li").all_text_contents() == ["1", "2"]
    painted = page.evaluate(
        """() => {
            const canvas = document.getElementById("rows");
            const context = canvas.getContext("2d");
            const places = [[0.15, 0.45], [0.55, 0.45], [0.95, 0.45], [0.55, 0.95], [0.95, 0.95]];
            return places.map(([x, y]) =>
                context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3] > 0);
        }"""
    )
    assert painted == [False, True, True, False, True]


def test_file_that_the_browser_cannot_play_is_an_error(page, pictures):
    page.set_input_files("#file", pictures / "letter.mp4")
    expect_error(page, "Could not analyse this video. This browser cannot play the file.")
    expect(page.get_by_text("Drop a photo or video here")).to_be_visible()


def test_file_with_sound_only_is_an_error(page, pictures):
    with av.open(str(pictures / "sound.webm"), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    page.set_input_files("#file", pictures / "sound.webm")
    expect_error(page, "Could not analyse this video. The file has sound only.")


def test_photo_replaces_a_video_and_a_video_replaces_the_webcam(page, pictures):
    page.get_by_role("button", name="Use the webcam").click()
    expect_faces(page, 1)
    page.set_input_files("#file", pictures / "clip.webm")
    expect(page.get_by_role("button", name="Use the webcam")).to_be_visible()
    expect_faces(page, 2)
    page.set_input_files("#file", pictures / "group.jpg")
    expect_faces(page, 5)
    expect(page.locator("#timeline")).to_be_hidden()
    assert page.evaluate("document.getElementById('video').src") == ""


def test_picture_of_a_video_shows_the_current_frame_with_its_boxes(page, pictures):
    play(page, pictures / "clip.webm")
    go_to(page, 1.5 * CLIP_PART_S)
    expect_faces(page, 1)
    picture = cv2.imdecode(np.frombuffer(download(page, "Picture"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (360, 640, 3)
    assert np.abs(picture[100:, 400:].astype(int) - (150, 160, 170)).max() < 12  # no second face
    assert np.abs(picture[:, :300].astype(int) - (150, 160, 170)).max() > 60


def test_video_uses_the_key(browser, pictures):
    with service_process(FER_API_KEYS="secret") as (client, _), opened(browser, client) as page:
        page.get_by_label("API key").fill("secret")
        page.get_by_label("API key").press("Enter")
        page.set_input_files("#file", pictures / "clip.webm")
        expect_faces(page, 1)
