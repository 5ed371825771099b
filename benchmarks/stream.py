"""Frames a second over one `/ws`: `python -m benchmarks.stream`. Prints a Markdown table.

Videos of 640x480 JPEG frames are made from the public-domain portrait: one face that moves, four, and an empty room.
Each is sent in two ways: 30 a second, as a webcam does, whatever is answered; and as fast as answers come back, with
two frames on their way. The client runs beside the service and takes its share of the cores. The last columns say how
many faces of the answered frames were found, and how many `POST /predict`, which searches every picture whole, finds in
those frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from websockets.sync.client import ClientConnection, connect

from app.domain import FaceBox
from app.server.cpus import available_cpus
from tests.e2e.browser import VIDEO_SIZE, video_frames
from tests.e2e.test_process import serving
from tests.support.scenes import SAME_FACE, canvas

WEBCAM_RATE = 30
ON_THEIR_WAY = 2


@dataclass(frozen=True)
class Frame:
    """One frame, with the faces that are in it."""

    jpeg: bytes
    faces: list[FaceBox]


@dataclass
class Run:
    """What one stream answered."""

    seconds: float = 0.0
    sent_at: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    answers: list[dict] = field(default_factory=list)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each stream")
    arguments = parser.parse_args()
    print(f"{available_cpus()} cores, one stream of {arguments.seconds:g} s each, OpenCV {cv2.__version__}.\n")
    print("| video | sent | answered a second | dropped | ms median | ms p95 | faces found | by `/predict` |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with serving() as (client, _):
        address = f"ws://{client.base_url.host}:{client.base_url.port}/ws"
        for name, frames in videos().items():
            whole = [count_found(client.post("/predict", content=frame.jpeg).json(), frame) for frame in frames]
            for way, send in (("30 a second", send_at_rate), ("as answered", send_as_answered)):
                with connect(address, compression=None) as stream:
                    run = send(stream, frames, arguments.seconds)
                print(f"| {name} | {way} | {row(run, frames, whole)} |", flush=True)
    return 0


def videos() -> dict[str, list[Frame]]:
    """Frames by name; each video begins anew where it ends."""
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
    nobody = [Frame(jpeg(np.roll(room, 4 * index, axis=1)), []) for index in range(60)]
    return {"one face": one, "four faces": four, "nobody": nobody}


def jpeg(pixels: np.ndarray) -> bytes:
    """A frame as the page sends it."""
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def count_found(answer: dict, frame: Frame) -> int:
    """How many faces of the frame an answer has."""
    boxes = [FaceBox(**face["box"]) for face in answer["faces"]]
    return sum(any(face.overlap(box) >= SAME_FACE for box in boxes) for face in frame.faces)


def send_at_rate(stream: ClientConnection, frames: Sequence[Frame], seconds: float) -> Run:
    """Sends by the clock; answers come when they come."""
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
    while not run.answers or run.answers[-1]["frame"] < last:
        receive(stream, run)
    sender.join()
    return finish(run)


def send_as_answered(stream: ClientConnection, frames: Sequence[Frame], seconds: float) -> Run:
    """Sends one frame for each answer."""
    run = Run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        while len(run.sent_at) < len(run.answers) + ON_THEIR_WAY:
            run.sent_at.append(time.perf_counter())
            stream.send(frames[(len(run.sent_at) - 1) % len(frames)].jpeg)
        receive(stream, run)
    return finish(run)


def receive(stream: ClientConnection, run: Run) -> None:
    """Takes one answer."""
    answer = json.loads(stream.recv(timeout=30))
    if "error" in answer:
        raise RuntimeError(answer["error"]["detail"])
    run.delays_ms.append((time.perf_counter() - run.sent_at[answer["frame"] - 1]) * 1000)
    run.answers.append(answer)


def finish(run: Run) -> Run:
    """Stops the clock."""
    run.seconds = time.perf_counter() - run.sent_at[0]
    return run


def row(run: Run, frames: Sequence[Frame], whole: Sequence[int]) -> str:
    """The table's cells of one stream; `whole` has what `/predict` finds in each frame."""
    answered = [(answer, (answer["frame"] - 1) % len(frames)) for answer in run.answers]
    faces = sum(len(frames[index].faces) for _, index in answered)
    found = sum(count_found(answer, frames[index]) for answer, index in answered)
    return (
        f"{len(answered) / run.seconds:.1f} | {run.answers[-1]['dropped']} of {run.answers[-1]['frame']}"
        f" | {np.median(run.delays_ms):.0f} | {np.percentile(run.delays_ms, 95):.0f}"
        f" | {found} of {faces} | {sum(whole[index] for _, index in answered)}"
    )


if __name__ == "__main__":
    sys.exit(main())
