"""Where the real data is, when it is at hand, and the mark for tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("TEST_DATA_DIR", REPOSITORY.parent / "shared" / "data"))

needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason=f"real data not found at {SHARED_DATA}: set TEST_DATA_DIR to run this"
)
