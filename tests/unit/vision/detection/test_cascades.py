"""Loading of the cascades."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import cv2
import pytest

from app.vision.detection import cascades
from app.vision.detection.cascades import ThreadLocalCascades


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


def test_damaged_cascade_fails_at_construction(monkeypatch, tmp_path):
    (tmp_path / "lbp.xml").write_text("<opencv_storage></opencv_storage>")
    monkeypatch.setattr(cascades, "LBP_CASCADE", tmp_path / "lbp.xml")
    with pytest.raises(RuntimeError, match=r"cannot load the cascade lbp\.xml"):
        ThreadLocalCascades()


def test_opencv_without_cascades_fails_with_the_version_that_is_needed(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(RuntimeError, match="below version 5"):
        ThreadLocalCascades()
