"""A finished run, for the tests of runs that build on it."""

from __future__ import annotations

import pytest

from tests.support.datasets import tiny_config
from training.fit.run_folder import RunFolder
from training.fit.train import train


@pytest.fixture(scope="module")
def first(dataset, tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("first") / "run")
    train(tiny_config(epochs=2), dataset, run)
    return run
