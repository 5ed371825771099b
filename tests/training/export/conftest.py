"""One finished run for all tests of the export."""

from __future__ import annotations

import pytest

from tests.support.datasets import tiny_config
from training.fit.run_folder import RunFolder
from training.fit.train import train


@pytest.fixture(scope="session")
def run(dataset, tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("export") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.evaluation.plots.plot_curves", lambda history, path: None)
        train(tiny_config(), dataset, folder)
    return folder
