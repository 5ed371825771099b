"""A run that starts from the weights of a finished run, of the same width or narrower."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.datasets import tiny_config
from training.architectures.heads import Head, build_with_heads
from training.errors import TrainingError
from training.fit.run_folder import RunFolder
from training.fit.train import train
from training.fit.warm_start import warm_start_from
from training.fit.widen import widen

pytestmark = pytest.mark.usefixtures("without_plots")


def test_train_with_warm_start_has_the_weights_of_the_parent_run(first, dataset, tmp_path):
    run = RunFolder(tmp_path / "second")
    still = {"name": "adamw", "learning_rate": 1e-12}  # steps too small to change the weights
    train(tiny_config(epochs=1, warm_start=first.path, ema_momentum=None, optimizer=still), dataset, run)
    kernels = []
    for path in (first, run):
        model = build_with_heads(path.read_config())
        model.load_weights(path.best_weights)
        kernels.append(model.get_layer("block1_conv1").get_weights()[0])
    np.testing.assert_allclose(kernels[1], kernels[0], atol=1e-6)


def test_train_with_warm_start_has_a_fresh_optimiser(first, dataset, tmp_path):
    """The weights file also has the optimiser of the parent run, whose learning rate has fallen to 0."""
    run = RunFolder(tmp_path / "second")
    cosine = {"name": "adamw", "learning_rate": 0.01, "schedule": "cosine"}
    state = train(tiny_config(epochs=2, warm_start=first.path, optimizer=cosine), dataset, run, stop_after_epochs=1)
    steps = 70 // run.read_config().batch_size
    assert state.history[0]["learning_rate"] == pytest.approx(0.005)
    with np.load(run.checkpoint) as saved:
        assert any(saved[name].shape == () and saved[name] == steps for name in saved.files if name != "state")


def test_warm_start_from_a_run_without_annotators_head_leaves_that_head_fresh(first):
    model = build_with_heads(tiny_config(annotator_votes={"loss_weight": 1.0}))
    fresh = model.get_layer(Head.ANNOTATORS.value).get_weights()[0]
    warm_start_from(model, first.path, seed=1)
    earlier = build_with_heads(first.read_config())
    earlier.load_weights(first.best_weights)
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), dtype=np.uint8)
    answers, expected = (each.predict(images, verbose=0)[Head.ORIGINAL.value] for each in (model, earlier))
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    np.testing.assert_array_equal(model.get_layer(Head.ANNOTATORS.value).get_weights()[0], fresh)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"architecture": "vgg", "widths": [4, 8, 16]}, "different layers"),
        (
            {"architecture": "vgg", "widths": [2, 8]},
            "at least the 4 channels of the parent run in block1_conv1. Received: 2",
        ),
    ],
)
def test_warm_start_from_another_network_is_refused(first, model, reason):
    with pytest.raises(TrainingError, match=reason):
        warm_start_from(build_with_heads(tiny_config(model=model)), first.path, 1)


def test_warm_start_of_a_network_that_cannot_be_widened_is_refused():
    narrow, wide = (
        build_with_heads(tiny_config(model={"architecture": "resnet_small", "widths": [width, width]}))
        for width in (4, 8)
    )
    with pytest.raises(TrainingError, match="cannot start from a narrower one"):
        widen(narrow, wide, 1)


@pytest.mark.parametrize("votes", [None, {"loss_weight": 1.0}])
def test_widen_keeps_the_logits(votes):
    """All statistics, factors and biases differ, so that an error in any of them changes the logits."""
    generator = np.random.default_rng(3)
    narrow, wide = (
        build_with_heads(tiny_config(annotator_votes=votes, model={"architecture": "vgg", "widths": widths}))
        for widths in ([4, 5], [9, 11])
    )
    narrow.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in narrow.weights])
    widen(narrow, wide, 1)
    images = generator.integers(0, 256, (6, 48, 48, 1), dtype=np.uint8)
    expected, answers = (model.predict(images, verbose=0) for model in (narrow, wide))
    assert expected.keys() == answers.keys()
    for head, logits in answers.items():
        np.testing.assert_allclose(logits, expected[head], rtol=1e-4)


def test_widen_gives_the_copies_of_a_channel_different_outgoing_weights():
    narrow, wide = (
        build_with_heads(tiny_config(model={"architecture": "vgg", "widths": widths})) for widths in ([4, 4], [8, 8])
    )
    widen(narrow, wide, 1)
    kernel = wide.get_layer("block1_conv2").get_weights()[0]
    copies = wide.get_layer("block1_conv1").get_weights()[0]
    for new in range(4, 8):
        (old,) = [index for index in range(4) if np.array_equal(copies[..., index], copies[..., new])]
        assert not np.allclose(kernel[:, :, old], kernel[:, :, new])


def test_train_with_warm_start_from_a_narrower_run_keeps_its_head(first, dataset, tmp_path):
    still = {"name": "adamw", "learning_rate": 1e-12}
    wider = {"architecture": "vgg", "widths": [8, 8]}
    run = RunFolder(tmp_path / "wider")
    train(tiny_config(epochs=1, warm_start=first.path, ema_momentum=None, optimizer=still, model=wider), dataset, run)
    models = [build_with_heads(path.read_config()) for path in (first, run)]
    for model, path in zip(models, (first, run), strict=True):
        model.load_weights(path.best_weights)
    head = [model.get_layer(Head.ORIGINAL).get_weights()[1] for model in models]
    np.testing.assert_allclose(head[1], head[0], atol=1e-6)
