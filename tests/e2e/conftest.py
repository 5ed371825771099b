"""The browser, the service and the test images of the tests of the page."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.browser import chromium, find_chromium, opened, write_clip, write_empty, write_group, write_video
from tests.support.process import service_process


@pytest.fixture(scope="package")
def pictures() -> Iterator[Path]:
    """Folder of test images and videos."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_video(folder / "face.mjpeg")
        write_group(folder / "group.jpg")
        write_empty(folder / "empty.jpg")
        write_clip(folder / "clip.webm")
        (folder / "letter.jpg").write_text("This file is not an image.")
        (folder / "letter.mp4").write_text("This file is not a video.")
        yield folder


@pytest.fixture(scope="module")
def browser(pictures) -> Iterator[Browser]:
    """Chromium with a webcam that shows a moving face."""
    with chromium(find_chromium(), pictures / "face.mjpeg") as browser:
        yield browser


@pytest.fixture(scope="module")
def service() -> Iterator[httpx2.Client]:
    """The service with its default settings."""
    # Nobody reads the log of the process, and a full pipe would block it.
    with service_process(stderr=subprocess.DEVNULL) as (client, _):
        yield client


@pytest.fixture
def page(browser, service) -> Iterator[Page]:
    """The page in a new window."""
    with opened(browser, service) as page:
        yield page
