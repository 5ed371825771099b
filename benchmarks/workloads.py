"""Workloads: image files made from the public-domain portrait, and the photographs beside the repository.

A workload is a cycle of requests. A measurement takes whole cycles, so that every file has the same weight.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.domain import FaceBox
from tests.e2e.browser import FACE, video_frames
from tests.support.images import ASTRONAUT
from tests.support.scenes import group_scene
from training.data.fer2013 import Split, load_fer2013

PORTRAITS, WEBCAM, PHOTOGRAPHS, GROUPS = "portraits", "webcam", "photographs", "groups"
LARGE, FACES = "large", "faces"

PORTRAIT_SIZE_PX = (640, 480)
LARGE_SIZE_PX = (4000, 3000)
# Standard deviation in grey levels. Without noise an enlarged photograph compresses far better than a real one.
_SENSOR_NOISE = 4
_SEED = 7


@dataclass(frozen=True)
class Workload:
    """Image files and the request parameter that goes with them.

    Attributes:
        name: Name in tables and results.
        title: Description in the report.
        files: Encoded images, sent one after the other, again and again.
        detect: False if the images are crops of faces.
        names: File names of the photographs; empty for generated images.
    """

    name: str
    title: str
    files: tuple[bytes, ...]
    detect: bool = True
    names: tuple[str, ...] = ()


def load_workloads(
    data: Path, photographs: int | None = None, only: Collection[str] | None = None
) -> dict[str, Workload]:
    """Return the workloads by name, without those whose files `data` does not have.

    Args:
        data: Folder with the photographs (`photos/`) and FER2013 (`fer2013.zip`).
        photographs: Number of photographs, the smallest first; None for all.
        only: Names of the workloads to load; None for all.
    """
    builders: dict[str, Callable[[], Workload]] = {PORTRAITS: _portraits, WEBCAM: _webcam}
    if (data / "photos").is_dir():
        builders[PHOTOGRAPHS] = lambda: _photographs(data / "photos", photographs)
    if (data / "fer2013.zip").exists():
        builders[GROUPS] = lambda: _groups(data / "fer2013.zip")
    builders |= {LARGE: _large, FACES: _faces}
    return {name: build() for name, build in builders.items() if only is None or name in only}


def _portraits() -> Workload:
    files = tuple(_jpeg(pixels, 90) for pixels, _ in portraits())
    side = round(np.mean([box.width for _, box in portraits()]))
    return Workload(PORTRAITS, f"640x480 JPEG, one face of {side} px, {_mean_kb(files)} kB", files)


def _webcam() -> Workload:
    files = tuple(_jpeg(pixels, 90) for pixels, _ in video_frames(8))
    side = round(np.mean([box.width for _, box in video_frames(8)]))
    return Workload(
        WEBCAM, f"640x480 JPEG, one face of {side} px before a large background, {_mean_kb(files)} kB", files
    )


def portraits(number: int = 8) -> list[tuple[np.ndarray, FaceBox]]:
    """Return portraits, uint8 (480, 640, 3), with the box of the face, which is at least 200 px wide."""
    portrait = np.asarray(cv2.imread(str(ASTRONAUT)))
    pictures = []
    for index in range(number):
        zoom = 2.1 + 0.05 * index
        side = round(FACE.width * zoom)
        box = FaceBox(round((PORTRAIT_SIZE_PX[0] - side) / 2) + 6 * index, 90 + 4 * index, side, side)
        matrix = np.array([[zoom, 0, box.x - zoom * FACE.x], [0, zoom, box.y - zoom * FACE.y]])
        picture = cv2.warpAffine(
            portrait, matrix, PORTRAIT_SIZE_PX, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        pictures.append((picture, box))
    return pictures


def _photographs(folder: Path, number: int | None) -> Workload:
    listed = json.loads((folder / "photos.json").read_text(encoding="utf-8"))["photos"]
    smallest = sorted(listed, key=lambda name: (folder / name).stat().st_size)[:number]
    names = tuple(name for name in listed if name in smallest)
    files = tuple((folder / name).read_bytes() for name in names)
    return Workload(PHOTOGRAPHS, f"{len(files)} photographs, {_mean_kb(files)} kB", files, names=names)


def _groups(archive: Path) -> Workload:
    generator = np.random.default_rng(_SEED)
    faces = load_fer2013(archive)[Split.PUBLIC_TEST].images[:, :, :, 0]
    scenes = [group_scene(list(faces[generator.choice(len(faces), 6, replace=False)]), generator)[0] for _ in range(8)]
    files = tuple(_jpeg(scene, 90) for scene in scenes)
    return Workload(GROUPS, f"1280x960 JPEG, six faces of 60 to 100 px, {_mean_kb(files)} kB", files)


def _large() -> Workload:
    generator = np.random.default_rng(_SEED)

    def enlarged(pixels: np.ndarray) -> np.ndarray:
        noise = generator.normal(0, _SENSOR_NOISE, (LARGE_SIZE_PX[1], LARGE_SIZE_PX[0], 1)).astype(np.float32)
        return (cv2.resize(pixels, LARGE_SIZE_PX, interpolation=cv2.INTER_CUBIC) + noise).clip(0, 255).astype(np.uint8)

    files = tuple(_jpeg(enlarged(pixels), 90) for pixels, _ in portraits(3))
    return Workload(LARGE, f"12-megapixel JPEG, one face, {_mean_kb(files)} kB", files)


def _faces() -> Workload:
    def face(pixels: np.ndarray, x: int, y: int, side: int) -> bytes:
        grey = cv2.cvtColor(pixels[y : y + side, x : x + side], cv2.COLOR_BGR2GRAY)
        return _jpeg(cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA), 95)

    files = tuple(face(pixels, box.x, box.y, box.width) for pixels, box in portraits(16))
    return Workload(FACES, f"48x48 JPEG of one face, `detect=false`, {_mean_kb(files)} kB", files, detect=False)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _mean_kb(files: tuple[bytes, ...]) -> str:
    return f"{np.mean([len(file) for file in files]) / 1000:.3g}"


def raw_request(file: bytes, detect: bool) -> bytes:
    """Return an HTTP request whose body is the file."""
    return _request(file, "image/jpeg", detect)


def multipart_request(file: bytes, detect: bool) -> bytes:
    """Return an HTTP request with the file as a form part, as browsers and `curl -F` send it."""
    boundary = "------------------------fer-serve-benchmark"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()
    return _request(body, f"multipart/form-data; boundary={boundary}", detect)


def base64_request(file: bytes, detect: bool) -> bytes:
    """Return an HTTP request with the file as base64 in JSON."""
    return _request(json.dumps({"image": base64.b64encode(file).decode()}).encode(), "application/json", detect)


def _request(body: bytes, content_type: str, detect: bool) -> bytes:
    head = (
        f"POST /predict{'' if detect else '?detect=false'} HTTP/1.1\r\nHost: fer-serve\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


Form = Callable[[bytes, bool], bytes]
FORMS: dict[str, Form] = {"multipart": multipart_request, "raw": raw_request, "base64": base64_request}
