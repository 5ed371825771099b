"""The pictures of the page in docs/images: `python -m tests.e2e.screenshots`. Only public-domain faces are shown."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.e2e.browser import chromium, find_chromium, write_group, write_video
from tests.e2e.test_process import serving
from tests.support.images import ASTRONAUT
from tests.support.paths import REPOSITORY

IMAGES = REPOSITORY / "docs" / "images"
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


def main() -> int:
    """Writes every picture anew."""
    executable = find_chromium()
    if executable is None:
        print("no Chromium found: install one, or name it in CHROMIUM", file=sys.stderr)
        return 2
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        video, group, text = Path(folder, "face.mjpeg"), Path(folder, "group.jpg"), Path(folder, "letter.jpg")
        write_video(video)
        write_group(group)
        text.write_text("Dear reader, I am no picture.")
        with serving() as (client, _), chromium(executable, video) as browser:

            def shot(name: str, show: Any, size: dict[str, int], scheme: Any = "light", full: bool = False) -> None:
                page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1)
                page.goto(str(client.base_url))
                show(page)
                page.wait_for_timeout(400)  # until bars and boxes rest
                page.screenshot(path=IMAGES / name, full_page=full)
                page.close()

            shot("page.png", lambda page: None, DESKTOP)
            shot("page-faces.jpg", lambda page: choose(page, group, 5), DESKTOP)
            shot("page-webcam.jpg", webcam, DESKTOP, "dark")
            shot("page-error.png", lambda page: refuse(page, text), DESKTOP)
            shot("page-phone.jpg", lambda page: choose(page, ASTRONAUT, 1), PHONE, "dark", full=True)
    return 0


def choose(page: Page, picture: Path, faces: int) -> None:
    """A photograph with so many faces."""
    page.set_input_files("#file", picture)
    page.wait_for_function("count => document.querySelectorAll('.face').length === count", arg=faces)


def refuse(page: Page, file: Path) -> None:
    """A file that is no picture."""
    page.set_input_files("#file", file)
    page.wait_for_selector("#error:not(:empty)")


def webcam(page: Page) -> None:
    """A few seconds of the webcam."""
    page.click("#camera")
    page.wait_for_selector(".face")
    page.wait_for_timeout(3000)


if __name__ == "__main__":
    sys.exit(main())
