"""Frames per second over one WebSocket: `python -m benchmarks.stream`. Prints a Markdown table.

The videos of 640x480 JPEG frames are made from the public-domain portrait: one moving face, four faces, and a room
without a face. Each video is sent in two modes: 30 frames per second like a webcam, and as fast as the service answers,
with two frames in flight. The load generator runs on the same cores as the service. The last columns give the faces
that the stream finds in the answered frames, and the faces that `POST /predict`, which has no tracking, finds in them.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import httpx2
import numpy as np
from websockets.sync.client import ClientConnection, connect

from app.domain import FaceBox
from app.server.cpus import available_cpus
from benchmarks.servers import run_service
from tests.e2e.browser import VIDEO_SIZE, video_frames
from tests.support.scenes import SAME_FACE, canvas

WEBCAM_RATE = 30
FRAMES_IN_FLIGHT = 2


@dataclass(frozen=True)
class Frame:
    """A frame with the boxes of its faces."""

    jpeg: bytes
    faces: list[FaceBox]


@dataclass
class Run:
    """Messages of one stream.

    Attributes:
        seconds: Time from the first frame sent to the last message.
        sent_at: Time of each frame sent, by `time.perf_counter()`.
        delays_ms: Time from sending a frame to its message, one per message.
        messages: Messages of the service.
    """

    seconds: float = 0.0
    sent_at: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="length of each stream (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{available_cpus()} cores, one stream of {arguments.seconds:g} s each, OpenCV {cv2.__version__}.\n")
    print("| video | sent | answers/s | dropped | median ms | p95 ms | faces found | by `/predict` |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with run_service() as server, httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        for name, frames in videos().items():
            by_predict = [count_found(client.post("/predict", content=frame.jpeg).json(), frame) for frame in frames]
            for mode, send in (("30 per second", send_at_rate), ("as answered", send_as_answered)):
                with connect(f"ws://127.0.0.1:{server.port}/ws", compression=None) as stream:
                    run = send(stream, frames, arguments.seconds)
                print(f"| {name} | {mode} | {table_cells(run, frames, by_predict)} |", flush=True)
    return 0


def videos() -> dict[str, list[Frame]]:
    """Return the frames of the videos by name. Each video is a loop."""
    width, height = VIDEO_SIZE
    one, four = [], []
    for pixels, box in video_frames(60):
        one.append(Frame(jpeg(pixels), [box]))
        half = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        side, right = box.width // 2, (width - box.x - box.width) // 2
        places = [(x, box.y // 2 + y) for y in (0, height // 2) for x in (box.x // 2, width // 2 + right)]
        scene = np.vstack([np.hstack([half, half[:, ::-1]])] * 2)
        four.append(Frame(jpeg(scene), [FaceBox(x, y, side, side) for x, y in places]))
    generator = np.random.default_rng(0)
    room = cv2.merge([canvas(height, width, "noise", generator)] * 3)
    no_face = [Frame(jpeg(np.roll(room, 4 * index, axis=1)), []) for index in range(60)]
    return {"one face": one, "four faces": four, "no face": no_face}


def jpeg(pixels: np.ndarray) -> bytes:
    """Return a frame as JPEG in the quality of the web page."""
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def count_found(message: dict[str, Any], frame: Frame) -> int:
    """Return the number of faces of a frame that a message contains."""
    boxes = [FaceBox(**face["box"]) for face in message["faces"]]
    return sum(any(face.overlap(box) >= SAME_FACE for box in boxes) for face in frame.faces)


def send_at_rate(stream: ClientConnection, frames: Sequence[Frame], seconds: float) -> Run:
    """Send frames at the rate of a webcam."""
    run = Run()

    def send() -> None:
        started = time.perf_counter()
        for index in range(int(seconds * WEBCAM_RATE)):
            time.sleep(max(0.0, started + index / WEBCAM_RATE - time.perf_counter()))
            run.sent_at.append(time.perf_counter())
            stream.send(frames[index % len(frames)].jpeg)

    sender = threading.Thread(target=send)
    sender.start()
    last = int(seconds * WEBCAM_RATE)
    while not run.messages or run.messages[-1]["frame"] < last:
        receive(stream, run)
    sender.join()
    run.seconds = time.perf_counter() - run.sent_at[0]
    return run


def send_as_answered(stream: ClientConnection, frames: Sequence[Frame], seconds: float) -> Run:
    """Send one frame for each message, with two frames in flight."""
    run = Run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        while len(run.sent_at) < len(run.messages) + FRAMES_IN_FLIGHT:
            run.sent_at.append(time.perf_counter())
            stream.send(frames[(len(run.sent_at) - 1) % len(frames)].jpeg)
        receive(stream, run)
    run.seconds = time.perf_counter() - run.sent_at[0]
    return run


def receive(stream: ClientConnection, run: Run) -> None:
    """Receive one message and store it.

    Raises:
        RuntimeError: The message is an error.
    """
    message = json.loads(stream.recv(timeout=30))
    if "error" in message:
        raise RuntimeError(message["error"]["detail"])
    run.delays_ms.append((time.perf_counter() - run.sent_at[message["frame"] - 1]) * 1000)
    run.messages.append(message)


def table_cells(run: Run, frames: Sequence[Frame], by_predict: Sequence[int]) -> str:
    """Return the table cells of one stream.

    Args:
        run: The stream.
        frames: Frames of the video.
        by_predict: Number of faces that `POST /predict` finds in each frame.
    """
    answered = [(message, (message["frame"] - 1) % len(frames)) for message in run.messages]
    faces = sum(len(frames[index].faces) for _, index in answered)
    found = sum(count_found(message, frames[index]) for message, index in answered)
    return (
        f"{len(answered) / run.seconds:.1f} | {run.messages[-1]['dropped']} of {run.messages[-1]['frame']}"
        f" | {np.median(run.delays_ms):.0f} | {np.percentile(run.delays_ms, 95):.0f}"
        f" | {found} of {faces} | {sum(by_predict[index] for _, index in answered)}"
    )


if __name__ == "__main__":
    sys.exit(main())
