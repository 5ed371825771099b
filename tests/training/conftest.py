"""The synthetic data set that the tests of training share."""

from __future__ import annotations

import pytest

from tests.support.datasets import tiny_dataset
from training.data.fer2013 import Fer2013


@pytest.fixture(scope="session")
def dataset() -> Fer2013:
    return tiny_dataset()
