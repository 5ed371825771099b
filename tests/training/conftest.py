"""One thread for PyTorch, and the synthetic dataset that the training tests share."""

from __future__ import annotations

import os

# The networks of these tests are tiny. With one thread per core, PyTorch's threads wait for each other at every
# operation: on two busy cores a test takes six times as long. PyTorch reads the variable when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from matplotlib import pyplot as plt

from tests.support.datasets import tiny_dataset
from training.data.fer2013 import Fer2013


@pytest.fixture(scope="session")
def dataset() -> Fer2013:
    return tiny_dataset()


@pytest.fixture(scope="module")
def without_plots():
    """Skip the plots of a run, which take longer than its training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.evaluation.plots.plot_curves", lambda history, path: None)
        patch.setattr("training.evaluation.plots.plot_confusion", lambda *arguments: None)
        yield


@pytest.fixture
def all_figures_closed():
    """Check that a test leaves no figure of matplotlib open."""
    yield
    assert plt.get_fignums() == []
