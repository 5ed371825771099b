"""A real Chromium for the page, and what it is shown: pictures of the public-domain portrait and of nobody."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from app.domain import FaceBox
from tests.support.images import ASTRONAUT

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VIDEO_SIZE = (640, 480)
FACE = FaceBox(176, 66, 96, 96)  # of the portrait, seen by eye


def find_chromium() -> Path | None:
    """The Chromium of $CHROMIUM, of the path, or of `playwright install chromium`; None where there is none."""
    named = os.environ.get("CHROMIUM")
    found = [shutil.which(name) for name in ((named,) if named else _NAMES)]
    for path in found:
        if path is not None:
            return Path(path)
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    return own if own.exists() and not named else None


@contextmanager
def chromium(executable: Path, camera: Path | None = None) -> Iterator[Browser]:
    """A browser, with a webcam that plays a video over and over where one is given."""
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


def video_frames(count: int) -> list[tuple[np.ndarray, FaceBox]]:
    """A face that moves from side to side and comes nearer and goes: uint8 (480, 640, 3) and where the face is."""
    portrait = cv2.imread(str(ASTRONAUT))
    frames = []
    for index in range(count):
        phase = 2 * np.pi * index / count
        zoom = 1.25 + 0.15 * np.sin(phase)
        left, top = 60 - 130 * (zoom - 1) + 40 * np.cos(phase), 40 - 150 * (zoom - 1)
        matrix = np.array([[zoom, 0, left], [0, zoom, top]])
        x, y, side = (round(value) for value in (zoom * FACE.x + left, zoom * FACE.y + top, zoom * FACE.width))
        frame = cv2.warpAffine(portrait, matrix, VIDEO_SIZE, borderMode=cv2.BORDER_REPLICATE)
        frames.append((frame, FaceBox(x, y, side, side)))
    return frames


def write_video(path: Path) -> None:
    """`video_frames` as Motion JPEG, which Chromium's fake webcam plays."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame, _ in video_frames(40)))


def write_group(path: Path) -> None:
    """Five portraits side by side, of several sizes and tones: one face each."""
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
    """A room without anybody in it."""
    cv2.imwrite(str(path), np.full((480, 640, 3), (150, 160, 170), np.uint8))
