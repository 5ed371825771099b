"""Time and memory of large photographs: `python -m benchmarks.sizes --data ../shared/data`.

Prints three Markdown tables: decoding, detection and crops of generated photographs of 12 to 200 megapixels; the same
for the workloads of the benchmark suite; the faces found in photographs that are enlarged. Every file is measured as
the service decodes it and at its full size, in turns in one process, so that another program on the machine affects
both. Memory is measured in a new process for each file.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np

from app.config import Settings
from app.domain import PredictOptions
from app.engine.vision_stages import Detector, run_vision_stages
from app.errors import FerError
from app.main import load_detector
from app.vision.decode import decode_image, reduction
from benchmarks.workloads import LARGE, PHOTOGRAPHS, PORTRAITS, load_workloads
from tests.e2e.browser import FACE
from tests.support.images import ASTRONAUT
from tests.support.photographs import Photograph, count_found, load_photographs

SIZES_PX = ((4000, 3000), (6000, 4000), (8064, 6048), (8160, 6120), (12000, 9000), (16320, 12240))
ENLARGED_TO_MP = (12, 24, 48)
MAX_PIXELS = 40_000_000
_ANY_SIZE = 10**9  # pixels; the limit on memory still holds
_MAX_FILE_BYTES = 20 * 1024 * 1024
_COLUMNS = ("megapixels", "kind", "MB", "decoded at", "faces", "MB above rest")
_FACE_SHARE = 0.3  # of the height
_SENSOR_NOISE = 4  # standard deviation in grey levels
_QUALITIES = (90, 80, 70, 50, 30)
_SEED = 7

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def photograph(width: int, height: int, progressive: bool = False) -> bytes:
    """Return a JPEG of the portrait with the noise of a sensor, in the best quality that the body limit allows."""
    zoom = height * _FACE_SHARE / FACE.width
    place = np.array([[zoom, 0, width / 2 - zoom * FACE.x], [0, zoom, height / 3 - zoom * FACE.y]])
    portrait = np.asarray(cv2.imread(str(ASTRONAUT)))
    scene = cv2.warpAffine(portrait, place, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    noise = np.random.default_rng(_SEED).normal(0, _SENSOR_NOISE, (512, width, 1)).astype(np.int16)
    for top in range(0, height, 512):
        strip = scene[top : top + 512]
        strip[:] = (strip + noise[: len(strip)]).clip(0, 255)
    for quality in _QUALITIES:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
        file = cv2.imencode(".jpg", scene, options)[1].tobytes()
        if len(file) <= _MAX_FILE_BYTES:
            break
    return file


def measure(detector: Detector, files: Sequence[bytes], rounds: int) -> tuple[list[float], list[float]]:
    """Return the CPU time of all files in milliseconds per round, as the service decodes them and in full."""
    reduced: list[float] = []
    full: list[float] = []
    for turn in range(rounds):
        for is_reduced in (True, False) if turn % 2 else (False, True):
            choose = reduction.for_detection if is_reduced else reduction.full_size
            with patch.object(reduction, "for_detection", choose):
                started = time.thread_time()
                for file in files:
                    run_vision_stages(file, PredictOptions(), detector, _ANY_SIZE, None)
                (reduced if is_reduced else full).append((time.thread_time() - started) * 1000)
    return reduced, full


def decode_ms(file: bytes, rounds: int) -> dict[int, float]:
    """Return the median CPU time of decoding in milliseconds at each reduction that the limits allow."""
    times: dict[int, list[float]] = {}
    for _ in range(rounds):
        for factor in (1, 2, 4, 8):
            started = time.thread_time()
            with suppress(FerError):
                decode_image(file, _ANY_SIZE, reduction.fixed(factor))
                times.setdefault(factor, []).append((time.thread_time() - started) * 1000)
    return {factor: statistics.median(each) for factor, each in times.items()}


def additional_mb(file: bytes) -> float:
    """Return the memory of the vision stages above rest, in MB, measured in a new process."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as stored:
        stored.write(file)
        stored.flush()
        command = [sys.executable, "-m", "benchmarks.sizes", "--memory-of", stored.name]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _print_additional_mb(path: Path) -> None:
    detector = load_detector(Settings(detector="haar"))
    cv2.setNumThreads(1)
    run_vision_stages(ASTRONAUT.read_bytes(), PredictOptions(), detector, MAX_PIXELS, None)
    file = path.read_bytes()
    rest_kb = _status_kb("VmRSS")
    _CLEAR_REFS.write_text("5")
    run_vision_stages(file, PredictOptions(), detector, MAX_PIXELS, None)
    print((_status_kb("VmHWM") - rest_kb) / 1024)


def _status_kb(name: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _row(detector: Detector, width: int, height: int, progressive: bool, rounds: int) -> str:
    file = photograph(width, height, progressive)
    kind = f"{width * height / 1e6:.0f} | {'progressive' if progressive else 'baseline'} | {len(file) / 1e6:.1f}"
    try:
        result = run_vision_stages(file, PredictOptions(), detector, MAX_PIXELS, None)
    except FerError as error:
        return f"| {kind} | `{error.code}` | | | | | |"
    factor = reduction.for_detection(width, height)
    decoding = decode_ms(file, rounds)
    decoded = " / ".join(f"{decoding[step]:.0f}" if step in decoding else "refused" for step in (1, factor, 8))
    ratio = "refused in full"
    if 1 in decoding:
        reduced, full = measure(detector, [file], rounds)
        ratio = _ratio(reduced, full)
        total = statistics.median(reduced)
    else:
        total = statistics.median(_once(detector, file) for _ in range(rounds))
    answer = f"1/{factor} | {len(result.faces)} | {additional_mb(file):.0f}"
    return f"| {kind} | {answer} | {decoded} | {total:.0f} | {ratio} |"


def _once(detector: Detector, file: bytes) -> float:
    started = time.thread_time()
    run_vision_stages(file, PredictOptions(), detector, MAX_PIXELS, None)
    return (time.thread_time() - started) * 1000


def _ratio(reduced: Sequence[float], full: Sequence[float]) -> str:
    ratios = sorted(one / other for one, other in zip(reduced, full, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _enlarged_row(detector: Detector, photographs: Sequence[Photograph], megapixels: int) -> str:
    """Return the faces found and the false boxes in photographs enlarged to a size, as decoded and in full."""
    counts = {choose: [0, 0] for choose in (reduction.for_detection, reduction.full_size)}
    for photograph in photographs:
        factor = (megapixels * 1_000_000 / photograph.grey.size) ** 0.5
        grey = cv2.resize(photograph.grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        file = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        enlarged = replace(
            photograph,
            grey=np.empty((0, 0), np.uint8),
            faces=tuple(box.scaled(factor) for box in photograph.faces),
            partial_faces=tuple(box.scaled(factor) for box in photograph.partial_faces),
        )
        for choose, count in counts.items():
            with patch.object(reduction, "for_detection", choose):
                found = run_vision_stages(file, PredictOptions(), detector, _ANY_SIZE, None).faces
            for index, number in enumerate(count_found(enlarged, [face.box for face in found])):
                count[index] += number
    faces = sum(len(photograph.faces) for photograph in photographs)
    cells = " | ".join(f"{found}/{faces}, {false}" for found, false in counts.values())
    return f"| {megapixels} | {cells} |"


def print_sizes(detector: Detector, arguments: argparse.Namespace) -> None:
    """Print the table of generated photographs."""
    cells = [*_COLUMNS, "decode ms: full / as decoded / 1/8", "ms", "ms / ms in full"]
    print(f"| {' | '.join(cells)} |\n|{' --- |' * len(cells)}")
    for progressive in (False, True):
        for width, height in SIZES_PX:
            print(_row(detector, width, height, progressive, arguments.rounds), flush=True)


def print_workloads(detector: Detector, arguments: argparse.Namespace) -> None:
    """Print the table of the workloads of the benchmark suite."""
    print("| workload | ms | ms / ms in full |\n| --- | --- | --- |")
    for name, workload in load_workloads(arguments.data, only=(PORTRAITS, PHOTOGRAPHS, LARGE)).items():
        reduced, full = measure(detector, workload.files, arguments.rounds)
        milliseconds = statistics.median(reduced) / len(workload.files)
        print(f"| {name} | {milliseconds:.1f} | {_ratio(reduced, full)} |", flush=True)


def print_enlarged(detector: Detector, arguments: argparse.Namespace) -> None:
    """Print the table of enlarged photographs."""
    photographs = load_photographs(arguments.data / "photos")
    print("| photographs enlarged to megapixels | found, false: as decoded | in full |\n| --- | --- | --- |")
    for megapixels in ENLARGED_TO_MP:
        print(_enlarged_row(detector, photographs, megapixels), flush=True)


TABLES = {"sizes": print_sizes, "workloads": print_workloads, "enlarged": print_enlarged}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, "all"], default="all", help="tables (default: all)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with photos/")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        _print_additional_mb(arguments.memory_of)
        return 0
    cv2.setNumThreads(1)
    detector = load_detector(Settings(detector="haar"))
    for name, print_table in TABLES.items():
        if name in arguments.tables or "all" in arguments.tables:
            print_table(detector, arguments)
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
