"""Chromium for the tests of the page, and test images made from a public-domain portrait."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.domain import FaceBox
from tests.support.images import ASTRONAUT

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 30_000  # long, because the machine may be busy
VIDEO_SIZE = (640, 480)
FACE = FaceBox(176, 66, 96, 96)  # in the portrait, marked manually


def find_chromium() -> Path | None:
    """Return the Chromium of $CHROMIUM, of the PATH or of `playwright install chromium`; None if there is none."""
    named = os.environ.get("CHROMIUM")
    found = [shutil.which(name) for name in ((named,) if named else _NAMES)]
    for path in found:
        if path is not None:
            return Path(path)
    with sync_playwright() as playwright:
        installed = Path(playwright.chromium.executable_path)
    return installed if installed.exists() and not named else None


needs_chromium = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium found: install one (apt install chromium), or name it in CHROMIUM"
)


@contextmanager
def chromium(executable: Path, camera: Path | None = None) -> Iterator[Browser]:
    """Start a browser. With `camera`, its webcam plays that video in a loop."""
    arguments = ["--disable-gpu", "--disable-dev-shm-usage"]
    if camera is not None:
        arguments += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, service: httpx2.Client, **options) -> Iterator[Page]:
    """Open the page in a new window. Any error on its console fails the test, including violations of its CSP."""
    context = browser.new_context(**options)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.goto(str(service.base_url))
    yield page
    # Chromium logs every response with status 400 and above; some tests cause these on purpose.
    assert [error for error in page.errors if "Failed to load resource" not in error] == []
    context.close()


def expect_faces(page: Page, count: int) -> None:
    """Wait until the page shows this number of faces."""
    for kind in (".face", ".box"):
        expect(page.locator(kind)).to_have_count(count, timeout=TIMEOUT_MS)


def expect_error(page: Page, text: str) -> None:
    """Wait until the page shows an error with this text."""
    expect(page.get_by_role("alert")).to_contain_text(text, timeout=TIMEOUT_MS)


def video_frames(count: int) -> list[tuple[np.ndarray, FaceBox]]:
    """Return frames, uint8 of shape (480, 640, 3), of a face that moves sideways and changes its size, with its box."""
    portrait = cv2.imread(str(ASTRONAUT))
    frames = []
    for index in range(count):
        phase = 2 * np.pi * index / count
        zoom = 1.25 + 0.15 * np.sin(phase)
        left, top = 60 - 130 * (zoom - 1) + 40 * np.cos(phase), 40 - 150 * (zoom - 1)
        matrix = np.array([[zoom, 0, left], [0, zoom, top]])
        x, y, side = (round(value) for value in (zoom * FACE.x + left, zoom * FACE.y + top, zoom * FACE.width))
        frame = cv2.warpAffine(portrait, matrix, VIDEO_SIZE, borderMode=cv2.BORDER_REFLECT)
        frames.append((frame, FaceBox(x, y, side, side)))
    return frames


def write_video(path: Path) -> None:
    """Write `video_frames` as Motion JPEG, the format of Chromium's fake webcam."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame, _ in video_frames(40)))


def write_group(path: Path) -> None:
    """Write an image of five portraits of several sizes and tones, with one face each."""
    portrait = cv2.imread(str(ASTRONAUT))[10:240, 105:335]
    tones = [(1.0, 0), (0.85, 12), (1.1, -8), (0.7, 40), (0.95, -20)]
    places = [(20, 20, 390), (430, 20, 390), (840, 20, 390), (225, 430, 300), (725, 430, 300)]  # left, top, side
    scene = np.full((750, 1250, 3), (74, 58, 48), np.uint8)
    for index, ((contrast, brightness), (left, top, side)) in enumerate(zip(tones, places, strict=True)):
        face = cv2.resize(portrait[:, ::-1] if index % 2 else portrait, (side, side), interpolation=cv2.INTER_CUBIC)
        toned = cv2.convertScaleAbs(face, alpha=contrast, beta=brightness)
        if index % 2:
            toned = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        scene[top : top + side, left : left + side] = toned
    cv2.imwrite(str(path), scene, [cv2.IMWRITE_JPEG_QUALITY, 92])


def write_empty(path: Path) -> None:
    """Write an image without a face."""
    cv2.imwrite(str(path), np.full((480, 640, 3), (150, 160, 170), np.uint8))


CLIP_PART_S = 1.6  # length of each part of the clip: no face, one face, two faces
_CLIP_FRAMES_PER_S = 10


def write_clip(path: Path) -> None:
    """Write a WebM video of three parts: no face, then a face on the left, then a second face on the right."""
    portrait = cv2.resize(cv2.imread(str(ASTRONAUT))[10:240, 105:335], (260, 260), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=_CLIP_FRAMES_PER_S)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index in range(round(3 * CLIP_PART_S * _CLIP_FRAMES_PER_S)):
            scene = np.full((360, 640, 3), (150, 160, 170), np.uint8)
            for number in range(int(index / _CLIP_FRAMES_PER_S / CLIP_PART_S)):
                scene[50:310, 30 + 320 * number : 290 + 320 * number] = portrait
            frame = av.VideoFrame.from_ndarray(scene, format="bgr24").reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
