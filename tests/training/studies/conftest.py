"""Shortcuts for the tests of studies: no subprocesses, no learning curves, no timing."""

from __future__ import annotations

import keras
import pytest

from training.errors import TrainingError


def call_in_this_process(function, calls, jobs):
    """`call_in_subprocesses` without subprocesses, each of which would import PyTorch."""
    for index, arguments in enumerate(calls):
        try:
            yield index, function(*arguments)
        except TrainingError as error:
            yield index, error


@pytest.fixture(scope="module", autouse=True)
def shortcuts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.evaluation.plots.plot_curves", lambda history, path: None)
        patch.setattr("training.evaluation.plots.plot_confusion", lambda *arguments: None)
        patch.setattr("training.studies.compare.call_in_subprocesses", call_in_this_process)
        patch.setattr("training.studies.latency.latency_ms", lambda path: 1.25)
        yield


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")
