"""Screenshots of the page for docs/images: `python -m tests.e2e.screenshots`.

They show a portrait in the public domain and mean faces only.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.e2e.browser import TIMEOUT_MS, chromium, find_chromium, write_video
from tests.support.paths import REPOSITORY
from tests.support.process import service_process

IMAGES = REPOSITORY / "docs" / "images"
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


def main() -> int:
    """Write all screenshots."""
    executable = find_chromium()
    if executable is None:
        print("expected Chromium on the PATH or in $CHROMIUM. Received: none", file=sys.stderr)
        return 2
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        video, text = Path(folder, "face.mjpeg"), Path(folder, "letter.jpg")
        write_video(video)
        text.write_text("This file is not an image.")
        with service_process() as (client, _), chromium(executable, video) as browser:

            def shot(name: str, show: Any, size: dict[str, int], scheme: Any = "light", full: bool = False) -> None:
                phone = {"is_mobile": True, "has_touch": True} if size is PHONE else {}
                page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1, **phone)
                page.goto(str(client.base_url))
                show(page)
                page.wait_for_timeout(400)  # until the transitions of bars and boxes end
                page.screenshot(path=IMAGES / name, full_page=full)
                page.close()

            shot("page.png", lambda page: None, DESKTOP)
            shot("page-faces.jpg", sample_faces, DESKTOP, full=True)
            shot("page-video.jpg", lambda page: sample_video(page, 0.92), DESKTOP)
            shot("page-webcam.jpg", webcam, DESKTOP, "dark")
            shot("page-error.png", lambda page: choose_invalid(page, text), DESKTOP)
            shot("page-phone.jpg", lambda page: sample_video(page, 0.5), PHONE, "dark", full=True)
    return 0


def sample_faces(page: Page) -> None:
    """Choose the mean faces: some are clear, some are unclear."""
    page.get_by_role("button", name="mean faces", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll('.face').length === 7")


def choose_invalid(page: Page, file: Path) -> None:
    """Choose a file that is not an image and wait for the error."""
    page.set_input_files("#file", file)
    page.wait_for_selector("#error:not(:empty)")


def sample_video(page: Page, share: float) -> None:
    """Play the sample video to its end, and choose a time on the timeline, 0 to 1."""
    page.get_by_role("button", name="video", exact=True).click()
    page.wait_for_function("() => document.getElementById('video').ended", timeout=TIMEOUT_MS)
    area = page.locator("#position").bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + share * area["width"], area["y"] + 0.5 * area["height"])
    page.wait_for_selector(".face")


def webcam(page: Page) -> None:
    """Run the webcam for a few seconds."""
    page.click("#camera")
    page.wait_for_selector(".face")
    page.wait_for_timeout(3000)


if __name__ == "__main__":
    sys.exit(main())
