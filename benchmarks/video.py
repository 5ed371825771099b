"""Memory and speed of videos on the command line: `python -m benchmarks.video`. Prints a Markdown table.

The videos (H.264, 10 frames per second) show the public-domain portrait, which moves. Each row is one run of
`python -m app.cli predict`. Memory is the resident memory of its processes: in the first tenth of the video, and the
highest of the whole run.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from app.server.cpus import available_cpus
from tests.e2e.browser import VIDEO_SIZE, video_frames

RATE = 10
LOOP_FRAMES = 40
POLL_S = 0.2
MIB = 1024
EXAMPLE_S = 20


@dataclass(frozen=True)
class Case:
    """One run of the command."""

    width: int
    height: int
    minutes: float
    fps: float
    draw: bool = False
    jobs: int = 1


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="length of the long video (default: %(default)g)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a video of 20 seconds and measure nothing")
    parser.add_argument("--fps", type=float, default=1, help="samples per second in it (default: %(default)g)")
    arguments = parser.parse_args()
    if arguments.write is not None:
        write_loop(arguments.write, *VIDEO_SIZE, EXAMPLE_S)
        return 0
    cases = [
        Case(640, 480, 1, 5),
        Case(640, 480, 1, 5, draw=True),
        Case(640, 480, 1, 5, jobs=2),
        Case(3840, 2160, 0.5, 2),
        Case(3840, 2160, 0.5, 2, draw=True),
        Case(640, 480, arguments.minutes, arguments.fps),
    ]
    print(f"{available_cpus()} cores.\n")
    print("| video | length | `--fps` | options | samples | seconds | memory in the first tenth | highest memory |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in cases:
        print(measure(case), flush=True)
    return 0


def measure(case: Case) -> str:
    """Run the command on one video. Return the row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, output = folder / "clip.mp4", folder / "faces.csv"
        write_loop(video, case.width, case.height, case.minutes * 60)
        options = ["--plot", str(folder / "plot.png"), "--jobs", str(case.jobs)]
        options += ["--draw", str(folder / "drawn")] if case.draw else []
        command = [sys.executable, "-m", "app.cli", "predict", str(video), "--csv", "--output", str(output)]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--fps", str(case.fps), *options])
        memory: list[tuple[int, int]] = []  # size of the output, and KiB
        while process.poll() is None:
            memory.append((output.stat().st_size if output.exists() else 0, resident_kib(process.pid)))
            time.sleep(POLL_S)
        seconds = time.perf_counter() - started
        if process.returncode:
            raise RuntimeError(f"the command ended with status {process.returncode}")
        with output.open(newline="") as rows:
            samples = len({row["frame"] for row in csv.DictReader(rows)})
        tenth = output.stat().st_size / 10
    first = max(kib for size, kib in memory if size <= max(tenth, memory[0][0]))
    highest = max(kib for _, kib in memory)
    chosen = " ".join((["`--draw`"] if case.draw else []) + ([f"`--jobs {case.jobs}`"] if case.jobs > 1 else []))
    cells = (
        f"{case.width}x{case.height}",
        f"{case.minutes:g} min",
        f"{case.fps:g}",
        chosen,
        samples,
        f"{seconds:.0f}",
        f"{first / MIB:.0f} MiB",
        f"{highest / MIB:.0f} MiB",
    )
    return f"| {' | '.join(map(str, cells))} |"


def write_loop(path: Path, width: int, height: int, seconds: float) -> None:
    """Write a video that repeats the packets of one loop, so that an hour takes a moment."""
    import av

    frames = [cv2.resize(frame, (width, height)) for frame, _ in video_frames(LOOP_FRAMES)]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "fast", "crf": "28", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = LOOP_FRAMES
        pictures = [av.VideoFrame.from_ndarray(np.asarray(frame, dtype=np.uint8), format="bgr24") for frame in frames]
        packets = [packet for picture in [*pictures, None] for packet in stream.encode(picture)]
        payloads = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for index in range(round(seconds * RATE)):
            data, is_keyframe = payloads[index % len(payloads)]
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = index
            packet.is_keyframe = is_keyframe
            container.mux(packet)


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process and its children in KiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
        return own + sum(resident_kib(int(child)) for child in children.read_text().split())
    except OSError:  # the process has ended
        return 0


if __name__ == "__main__":
    sys.exit(main())
