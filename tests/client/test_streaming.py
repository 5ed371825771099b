"""Streams and videos of the Python client, against the service on a socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fer_client import ApiError, AsyncFerClient, ConnectionFailedError, FerClient, FramePrediction

from tests.support.images import encoded, picture

TWO, NONE = encoded(picture(2)), encoded(picture(0))
# Uneven times, in milliseconds: faces are in the frames from 1000 on.
TIMES_MS = [0, 40, 90, 300, 310, 520, 700, 980, 1000, 1100, 1230, 1500, 1730, 1990, 2000]


def scene(faces: int) -> np.ndarray:
    """Return a frame, uint8 (120, 160), in which `FakeDetector` finds faces, also after compression."""
    grey = np.zeros((120, 160), np.uint8)
    for number in range(faces):
        grey[10:30, 40 * number + 10 : 40 * number + 30] = 255
    return grey


def write_clip(path: Path, frames: list[tuple[int, np.ndarray]], rotation: int = 0) -> Path:
    """Write grey frames at their times in milliseconds. `rotation`: degrees counterclockwise, in the metadata."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = frames[0][1].shape
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for time_ms, grey in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Video with uneven times; two faces from 1.0 s on."""
    frames = [(time_ms, scene(2 if time_ms >= 1000 else 0)) for time_ms in TIMES_MS]
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mkv", frames)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_every_frame_is_answered_in_order(make_server, in_flight):
    frames = [TWO, NONE, b"not an image", TWO]
    with FerClient(make_server()) as client:
        answers = list(client.stream(iter(frames * 5), in_flight=in_flight))
    assert len(answers) == 20
    for index, answer in enumerate(answers):
        if index % 4 == 2:
            assert isinstance(answer, ApiError)
            assert answer.code == "unsupported_image_format"
        else:
            assert isinstance(answer, FramePrediction)
            assert (answer.frame, answer.dropped) == (index + 1, 0)
            assert len(answer.faces) == (0 if index % 4 == 1 else 2)
    assert [face.track for face in answers[0].faces] == [face.track for face in answers[3].faces]


def test_stream_is_a_generator_over_an_endless_source(make_server):
    taken = []

    def source() -> Iterator[bytes]:
        for number in itertools.count():
            taken.append(number)
            yield TWO

    with FerClient(make_server()) as client:
        answers = list(itertools.islice(client.stream(source()), 3))
    assert [answer.frame for answer in answers] == [1, 2, 3]
    assert taken == [0, 1, 2]


def test_stream_takes_paths_and_options(make_server, tmp_path):
    path = tmp_path / "frame.png"
    path.write_bytes(TWO)
    with FerClient(make_server()) as client:
        (one,) = client.stream([path], max_faces=1, coverage=0.9, min_confidence=1.0, smoothing=0.5)
        assert len(one.faces) == 1
        assert one.faces[0].emotion == "uncertain"
        assert one.faces[0].prediction_set
        with pytest.raises(FileNotFoundError):
            list(client.stream([tmp_path / "missing.png"]))


def test_refused_stream_raises_the_error_of_the_service(make_server):
    with FerClient(make_server(api_keys="right")) as client, pytest.raises(ApiError, match="unauthorized"):
        list(client.stream([TWO]))
    with FerClient(make_server(api_keys="right"), api_key="right") as client:
        assert len(list(client.stream([TWO]))) == 1
    with FerClient(make_server()) as client:
        with pytest.raises(ApiError, match="invalid_parameter") as caught:
            list(client.stream([TWO], smoothing=7))
        assert caught.value.status == 422
        with pytest.raises(ValueError, match="in_flight must be 1 or 2"):
            list(client.stream([TWO], in_flight=3))
    with FerClient("http://127.0.0.1:1") as client, pytest.raises(ConnectionFailedError):
        list(client.stream([TWO]))


def test_unknown_option_is_refused():
    with FerClient("http://127.0.0.1:1") as client:
        for call in (lambda: client.predict(TWO, max_face=1), lambda: list(client.stream([TWO], max_face=1))):
            with pytest.raises(TypeError, match=r"expected the options detect, .*Received: max_face"):
                call()


def test_video_is_sampled_at_its_own_times(make_server, clip):
    with FerClient(make_server()) as client:
        answers = list(client.predict_video(clip, fps=4))
    assert [answer.time_s for answer in answers] == pytest.approx([0, 0.3, 0.52, 0.98, 1.0, 1.5, 1.99, 2.0], abs=0.001)
    assert [len(answer.result.faces) for answer in answers] == [0 if answer.time_s < 1 else 2 for answer in answers]
    assert all(answer.result.dropped == 0 for answer in answers)
    assert len({tuple(face.track for face in answer.result.faces) for answer in answers if answer.time_s >= 1}) == 1


def test_video_with_fewer_frames_than_asked_is_taken_as_a_whole(make_server, clip):
    with FerClient(make_server()) as client:
        answers = list(client.predict_video(clip, fps=1000))
    assert [round(answer.time_s * 1000) for answer in answers] == TIMES_MS


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_video_is_sent_upright(make_server, tmp_path, rotation):
    upright = scene(1)
    path = write_clip(tmp_path / "turned.mp4", [(0, np.rot90(upright, -rotation // 90))], rotation)
    with FerClient(make_server()) as client:
        (answer,) = client.predict_video(path)
    assert (answer.result.image.width, answer.result.image.height) == (160, 120)
    assert [(face.box.x, face.box.y) for face in answer.result.faces] == [(0, 0)]


def test_large_frames_are_scaled(make_server, tmp_path):
    path = write_clip(tmp_path / "large.mkv", [(0, np.zeros((1440, 2560), np.uint8))])
    with FerClient(make_server()) as client:
        (answer,) = client.predict_video(path)
    assert (answer.result.image.width, answer.result.image.height) == (1280, 720)


def test_file_without_a_video_is_refused(make_server, tmp_path):
    path = tmp_path / "letter.mp4"
    path.write_text("This file is not a video.")
    with FerClient(make_server()) as client:
        with pytest.raises(ValueError, match="expected a video file"):
            list(client.predict_video(path))
        with pytest.raises(FileNotFoundError):
            list(client.predict_video(tmp_path / "missing.mp4"))
        with pytest.raises(ValueError, match="fps must be positive"):
            list(client.predict_video(path, fps=0))


def test_async_client_streams_the_same_answers(make_server, clip):
    url = make_server()

    async def scenario():
        async def frames():
            for frame in (TWO, NONE):
                yield frame

        async with AsyncFerClient(url) as client:
            streamed = [answer async for answer in client.stream(frames())]
            listed = [answer async for answer in client.stream([TWO, NONE], in_flight=2)]
            video = [answer async for answer in client.predict_video(clip, fps=4)]
            with pytest.raises(ApiError, match="invalid_parameter"):
                async for _ in client.stream([TWO], smoothing=7):
                    pass
        async with AsyncFerClient("http://127.0.0.1:1") as client:
            with pytest.raises(ConnectionFailedError):
                async for _ in client.stream([TWO]):
                    pass
        return streamed, listed, video

    streamed, listed, video = asyncio.run(scenario())
    with FerClient(url) as client:
        expected = list(client.predict_video(clip, fps=4))
    assert [len(answer.faces) for answer in streamed] == [len(answer.faces) for answer in listed] == [2, 0]
    assert [(each.time_s, len(each.result.faces)) for each in video] == [
        (each.time_s, len(each.result.faces)) for each in expected
    ]
