"""Loading of the cascades."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import cv2
import pytest

from app.vision.detection import cascades
from app.vision.detection.cascades import ThreadLocalCascades
from tests.support.portrait import load_portrait


def test_every_thread_gets_its_own_cascades():
    shared = ThreadLocalCascades()
    assert shared.get() is shared.get()
    barrier = Barrier(2)

    def get_cascades(_: int):
        barrier.wait(5)
        return shared.get()

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(get_cascades, range(2))
    assert len({id(copy.haar) for copy in (shared.get(), first, second)}) == 3


def test_missing_cascade_fails_at_construction(monkeypatch):
    monkeypatch.setattr(cascades, "HAAR_CASCADE", "nothing.xml")
    with pytest.raises(RuntimeError, match=r"does not contain the cascade nothing\.xml"):
        ThreadLocalCascades()


@pytest.mark.parametrize("content", ["<opencv_storage></opencv_storage>", '<?xml version="1.0"?><opencv_storage>', ""])
@pytest.mark.parametrize("name", ["LBP_CASCADE", "HAAR_CASCADE"])
def test_damaged_cascade_fails_at_construction(monkeypatch, tmp_path, name, content):
    (tmp_path / "damaged.xml").write_text(content)
    monkeypatch.setattr(cascades, name, tmp_path / "damaged.xml" if name == "LBP_CASCADE" else "damaged.xml")
    if name == "HAAR_CASCADE":
        monkeypatch.setattr(cascades, "_find", lambda file_name: tmp_path / file_name)
    with pytest.raises(RuntimeError, match=r"cannot load the cascade damaged\.xml"):
        ThreadLocalCascades()


def test_missing_file_of_the_package_fails_at_construction(monkeypatch, tmp_path):
    monkeypatch.setattr(cascades, "LBP_CASCADE", tmp_path / "nothing.xml")
    with pytest.raises(RuntimeError, match=r"cannot load the cascade nothing\.xml"):
        ThreadLocalCascades()


def test_haar_cascade_without_its_last_stages_accepts_more_windows():
    portrait = load_portrait()
    whole = cv2.CascadeClassifier(cv2.data.haarcascades + cascades.HAAR_CASCADE)
    counts = [len(each.detectMultiScale(portrait, 1.1, 0)) for each in (whole, ThreadLocalCascades().get().haar)]
    assert 0 < counts[0] < counts[1] < 2 * counts[0]


def test_opencv_without_cascades_fails_with_the_version_that_is_needed(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(RuntimeError, match="below version 5"):
        ThreadLocalCascades()
