"""Fixtures of the detection tests."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.portrait import load_portrait


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return load_portrait()
