"""Paths of the repository and of the real data, and the mark of tests that need the data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("TEST_DATA_DIR", REPOSITORY.parent / "shared" / "data"))

YUNET = SHARED_DATA / "yunet" / "face_detection_yunet_2023mar.onnx"

needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason=f"there is no YuNet model at {YUNET}; see make yunet")
needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason=f"there is no real data in {SHARED_DATA}; set TEST_DATA_DIR to its folder"
)
