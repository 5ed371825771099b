"""`WS /ws` over a socket with the shipped model, and the examples of docs/streaming.md."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import cv2
import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from app.domain import FaceBox
from tests.e2e.browser import chromium, find_chromium, video_frames, write_video
from tests.support.images import ASTRONAUT
from tests.support.paths import REPOSITORY
from tests.support.process import service_process

GUIDE = (REPOSITORY / "docs" / "streaming.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return code


def address(client: httpx2.Client, path: str = "/ws") -> str:
    return f"ws://{client.base_url.host}:{client.base_url.port}{path}"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with service_process(FER_MAX_BODY_BYTES="200000") as (client, _):
        yield client


def test_face_of_a_video_has_one_track_and_the_boxes_of_predict(client):
    with connect(address(client, "/ws?smoothing=0.5")) as stream:
        for pixels, box in video_frames(30):
            frame = cv2.imencode(".jpg", pixels)[1].tobytes()
            stream.send(frame)
            response = json.loads(stream.recv())
            (face,) = [face for face in response["faces"] if box.overlap(FaceBox(**face["box"])) >= 0.5]
            assert face["track"] == 1
            assert face["emotion"] == "happy"
            predicted = client.post("/predict", content=frame).json()
            assert max(FaceBox(**face["box"]).overlap(FaceBox(**one["box"])) for one in predicted["faces"]) > 0.8


def test_frame_above_the_limit_is_refused_and_one_above_twice_the_limit_closes_the_stream(client):
    with connect(address(client)) as stream:
        stream.send(b"x" * 200_001)
        assert json.loads(stream.recv())["error"]["code"] == "payload_too_large"
        stream.send(ASTRONAUT.read_bytes())
        assert json.loads(stream.recv())["emotion"] == "happy"
        stream.send(b"x" * 400_001)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv()
        assert closed.value.rcvd.code == 1009


def test_compression_is_not_negotiated(client):
    with connect(address(client), compression="deflate") as stream:
        assert stream.protocol.extensions == []


def test_other_origin_is_refused_with_a_problem_document(client):
    with pytest.raises(InvalidStatus) as refused, connect(address(client), origin="https://evil.example"):
        pass
    response = refused.value.response
    assert (response.status_code, json.loads(response.body)["code"]) == (403, "forbidden_origin")
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("signal_number", "drain_s"), [(signal.SIGTERM, "20"), (signal.SIGTERM, "0"), (signal.SIGINT, "20")]
)
def test_signal_to_the_service_closes_the_stream(signal_number, drain_s):
    with service_process(FER_DRAIN_S=drain_s) as (client, process), connect(address(client)) as stream:
        stream.send(ASTRONAUT.read_bytes())
        assert json.loads(stream.recv())["frame"] == 1
        process.send_signal(signal_number)
        with pytest.raises(ConnectionClosed) as closed:
            list(iter(partial(stream.recv, timeout=15), None))  # until the stream is closed
        assert closed.value.rcvd.code == 1012
        if drain_s == "20" and signal_number == signal.SIGTERM:
            assert closed.value.rcvd.reason.startswith("draining")
            assert client.get("/healthz").status_code == 200  # other requests are answered during the drain
        else:
            assert process.wait(15) == 0


def test_python_example_of_the_guide_runs(client, tmp_path):
    (tmp_path / "frames").mkdir()
    for index in range(2):
        (tmp_path / "frames" / f"{index}.jpg").write_bytes(ASTRONAUT.read_bytes())
    (tmp_path / "frames" / "2.jpg").write_text("not an image")
    code = example("python").replace("localhost:8000", f"{client.base_url.host}:{client.base_url.port}")
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    first, second, third = ended.stdout.splitlines()
    assert first.startswith("1 [(1, 'happy', 0.9")
    assert second.startswith("2 [(1, 'happy', 0.9")
    assert third.startswith("3 expected a JPEG")


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium found: install one, or name it in CHROMIUM")
def test_javascript_example_of_the_guide_runs(client, tmp_path):
    write_video(tmp_path / "face.mjpeg")
    code = example("js").replace("localhost:8000", f"{client.base_url.host}:{client.base_url.port}")
    with chromium(find_chromium(), tmp_path / "face.mjpeg") as browser:
        page = browser.new_page()
        page.goto(str(client.base_url))
        with page.expect_console_message(lambda message: re.search(r"^[3-9] .*happy", message.text)):
            page.evaluate(f"async () => {{ {code} }}")
