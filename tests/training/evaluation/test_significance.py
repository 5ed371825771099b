"""McNemar's test of two networks, and the command, which opens PrivateTest only for a final model."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.datasets import tiny_config
from training import cli
from training.data.splits import Fer2013, Split
from training.evaluation.significance import compare_models, mcnemar
from training.export.export import export
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture(scope="module")
def models(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed in (3, 4):
        run = RunFolder(folder / f"run{seed}")
        train(tiny_config(seed=seed, epochs=seed - 2), dataset, run)
        export(run, dataset, folder / f"model{seed}.onnx")
    return folder / "model3.onnx", folder / "model4.onnx"


def test_mcnemar_counts_the_images_that_only_one_network_gets_right():
    first = np.array([True] * 60 + [True] * 2 + [False] * 10 + [False] * 28)
    second = np.array([True] * 60 + [False] * 2 + [True] * 10 + [False] * 28)
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second, result.accuracies) == (2, 10, (0.62, 0.70))
    # Two-sided binomial test of 2 of 12: 2 * (1 + 12 + 66) / 4096.
    assert result.p_value == pytest.approx(158 / 4096)
    assert result.difference == pytest.approx(0.08)
    assert result.standard_error == pytest.approx(np.std(second.astype(int) - first) / 10)


def test_equal_networks_do_not_differ():
    correct = np.array([True, False])
    assert mcnemar(correct, correct).p_value == 1.0


def test_private_test_is_read_only_for_a_final_model(models, dataset):
    class Guarded(dict):
        def __getitem__(self, split):
            assert split is not Split.PRIVATE_TEST, "read PrivateTest"
            return super().__getitem__(split)

    guarded = Fer2013(Guarded(dataset.splits), dataset.sha256)
    assert list(compare_models(*models, guarded)) == ["PublicTest"]
    with pytest.raises(AssertionError, match="read PrivateTest"):
        compare_models(*models, guarded, final=True)
    final = compare_models(*models, dataset, final=True)
    assert [result.images for result in final.values()] == [28, 28, 56]
    assert list(final)[2] == "PublicTest+PrivateTest"


def test_command_prints_the_comparison(models, dataset, monkeypatch, capsys):
    monkeypatch.setattr("training.cli.models.load_dataset", lambda arguments: dataset)
    monkeypatch.setattr("sys.argv", ["training", "significance", *map(str, models)])
    assert cli.main() == 0
    printed = capsys.readouterr().out
    assert "PublicTest, 28 images: model3" in printed
    assert "McNemar, exact" in printed
    assert "PrivateTest" not in printed
