"""Every option of a recipe has its documented effect: each test fails if its option is ignored."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pydantic import ValidationError

import training.fit.train as train_module
from app.contract.labels import LABELS
from tests.support.datasets import split_of, tiny_config
from training.config import AdversarialConfig, AugmentConfig, BalanceConfig, LossConfig, OptimizerConfig
from training.data.augment import augment_batch
from training.data.balance import epoch_length, epoch_order, with_copies
from training.data.fer2013 import Split
from training.data.mix import Mix, draw_mix
from training.fit.adversarial import FastGradientSign
from training.fit.compiling import compile_model
from training.fit.losses import build_loss, image_weights, label_shares, targets_for
from training.fit.optimizers import build_optimizer
from training.fit.run_folder import RunFolder
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("without_plots")

LOGITS = np.array([[2.0, 0, 0, 0, 0, 0, 0], [0, 3.0, 0, 0, 0, 0, 0]], np.float32)
LABELS_OF_LOGITS = np.array([0, 4])
# Probabilities of the true labels, computed without Keras.
PROBABILITIES = np.array([np.exp(2) / (np.exp(2) + 6), 1 / (np.exp(3) + 6)])


@pytest.fixture(autouse=True)
def full_precision():
    keras.config.set_dtype_policy("float32")


# Losses


def loss_of(config: LossConfig) -> float:
    return float(build_loss(config)(targets_for(config, LABELS_OF_LOGITS), LOGITS))


def test_sparse_loss_takes_codes_and_is_cross_entropy():
    config = LossConfig(name="sparse")
    assert targets_for(config, LABELS_OF_LOGITS) is LABELS_OF_LOGITS
    assert loss_of(config) == pytest.approx(-np.log(PROBABILITIES).mean(), rel=1e-5)


def test_focal_loss_weights_certain_predictions_less():
    focal = loss_of(LossConfig(name="focal", focal_gamma=2.0))
    assert focal == pytest.approx((-((1 - PROBABILITIES) ** 2) * np.log(PROBABILITIES)).mean(), rel=1e-4)
    assert loss_of(LossConfig(name="focal", focal_gamma=0.0)) == pytest.approx(loss_of(LossConfig()), rel=1e-4)


def test_label_smoothing_changes_the_focal_loss():
    assert loss_of(LossConfig(name="focal", label_smoothing=0.2)) > loss_of(LossConfig(name="focal")) + 0.1


def test_balanced_class_weights_give_every_label_the_same_sum():
    labels = np.array([0] * 8 + [1] * 2 + [6] * 2)
    weights = image_weights(LossConfig(class_weights="balanced"), labels)
    sums = [weights[labels == code].sum() for code in (0, 1, 6)]
    np.testing.assert_allclose(sums, 4)
    assert set(image_weights(LossConfig(), labels)) == {1.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "sparse", "label_smoothing": 0.1}},
        {"loss": {"name": "sparse"}, "augment": {"mixup_alpha": 0.2}},
        {"loss": {"name": "sparse"}, "augment": {"cutmix_alpha": 0.2}},
        {"loss": {"logit_adjustment": 1.0, "class_weights": "balanced"}},
        {"loss": {"logit_adjustment": 1.0}, "balance": {"oversample": True}},
        {"averaged_epochs": 4},
        {"averaged_epochs": 2, "early_stopping_patience": 1},
        {"averaged_epochs": 2, "progressive_sizes": [{"epoch": 2, "size_px": 24}]},
        {"sharpness_aware": {"last_epochs": 4}},
        {"optimizer": {"learning_rate": 1, "schedule": "plateau", "warmup_epochs": 1}},
        {"fine_tuning": {"from_epoch": 3, "optimizer": {"learning_rate": 1}}},
        {"balance": {"copies_up_to": {"joy": 3}}},
        {"adversarial": {"epsilon": 0}},
    ],
)
def test_incompatible_options_are_refused(changes):
    with pytest.raises(ValidationError):
        tiny_config(**changes)


def test_logit_adjustment_adds_the_log_shares_in_the_loss_only():
    config = LossConfig(logit_adjustment=0.5)
    shares = label_shares(np.array([0] * 90 + [4] * 10))
    adjusted = LOGITS + 0.5 * np.log(np.maximum(shares, 1e-5))
    expected = -np.log(np.exp(adjusted)[[0, 1], LABELS_OF_LOGITS] / np.exp(adjusted).sum(axis=1)).mean()
    targets = targets_for(config, LABELS_OF_LOGITS)
    assert float(build_loss(config, shares)(targets, LOGITS)) == pytest.approx(expected, rel=1e-4)
    assert loss_of(config) == pytest.approx(loss_of(LossConfig()))


# Balance


def unbalanced():
    return split_of([10, 20, 30, 40, 50, 60, 200, 210], [0, 0, 0, 0, 0, 0, 1, 1])


def test_oversampling_draws_all_labels_equally_often():
    labels, config = unbalanced().labels, BalanceConfig(oversample=True)
    order = epoch_order(labels, config, np.random.default_rng(0))
    assert len(order) == epoch_length(labels, config) == 12
    np.testing.assert_array_equal(np.bincount(labels[order]), [6, 6])
    np.testing.assert_array_equal(np.bincount(order), [1] * 6 + [3] * 2)


def test_without_oversampling_an_epoch_has_every_image_once():
    labels = unbalanced().labels
    order = epoch_order(labels, BalanceConfig(), np.random.default_rng(0))
    assert sorted(order) == list(range(8))
    assert epoch_length(labels, BalanceConfig()) == 8


def test_offline_balancing_adds_augmented_copies_of_the_named_label():
    generator = np.random.default_rng(0)
    split = unbalanced()
    split.images[:] = generator.integers(0, 256, size=split.images.shape)
    config = BalanceConfig(copies_up_to={"disgust": 5, "angry": 3})
    balanced = with_copies(split, config, seed=1)
    np.testing.assert_array_equal(np.bincount(balanced.labels), [6, 5])
    np.testing.assert_array_equal(balanced.images[:8], split.images)
    assert not {image.tobytes() for image in balanced.images[8:]} & {image.tobytes() for image in split.images}
    assert set(balanced.names[8:]) == {"0006", "0007"}
    np.testing.assert_array_equal(with_copies(split, config, seed=1).images, balanced.images)


# Images

RAMP = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None, None] * 5, (32, 48, 48, 1)).copy()


def augmented(**options) -> np.ndarray:
    return augment_batch(RAMP, AugmentConfig(**options), np.random.default_rng(1), 48)


def test_shear_tilts_vertical_lines_and_keeps_the_centre():
    line = np.zeros((32, 48, 48, 1), np.uint8)
    line[:, :, 22:26] = 255
    sheared = augment_batch(line, AugmentConfig(shear_degrees=20), np.random.default_rng(1), 48)
    columns = np.arange(48)
    centres = (sheared[..., 0] * columns).sum(axis=2) / sheared[..., 0].sum(axis=2)
    slopes = (centres[:, 40] - centres[:, 8]) / 32
    assert 0.25 < np.abs(slopes).max() <= np.tan(np.radians(20)) + 0.01
    assert slopes.min() < 0 < slopes.max()
    np.testing.assert_allclose(centres[:, 23:25].mean(axis=1), 23.5, atol=0.5)


def test_crop_shows_a_part_of_the_picture_at_full_size():
    cropped = augmented(crop=0.5)[:, :, 24, 0].astype(int)
    spans = cropped.max(axis=1) - cropped.min(axis=1)
    assert spans.max() <= 47 * 5
    assert 47 * 5 * 0.45 < spans.min() < 47 * 5 * 0.7
    assert np.ptp(cropped.min(axis=1)) > 20  # from different places
    assert cropped.shape == (32, 48)


def test_mixup_blends_pairs_of_images_and_their_labels():
    mix = Mix.draw(64, 0.5, np.random.default_rng(0))
    assert mix.shares.min() >= 0.5
    assert np.ptp(mix.shares) > 0.2
    images = np.arange(64, dtype=np.uint8).reshape(64, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    blended, targets = mix.blend(images), mix.blend(np.eye(64, dtype=np.float32))
    assert blended.dtype == np.uint8
    np.testing.assert_allclose(blended[:, 0, 0, 0], targets @ np.arange(64), atol=0.51)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)


def test_cutmix_pastes_a_box_of_the_partner_and_weights_the_labels_by_area():
    generator = np.random.default_rng(0)
    mix = Mix.draw_boxes(64, 1.0, 16, generator)
    images = np.arange(64, dtype=np.uint8).reshape(64, 1, 1, 1) * np.ones((1, 16, 16, 1), np.uint8)
    mixed, targets = mix.mix_images(images), mix.blend(np.eye(64, dtype=np.float32))
    for index, partner in enumerate(mix.partners):
        assert set(np.unique(mixed[index])) <= {index, partner}
        np.testing.assert_allclose(targets[index, index], (mixed[index] == index).mean(), atol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(mix.shares) > 0.6


def test_cutmix_box_is_top_bottom_left_right():
    images = np.arange(2, dtype=np.uint8).reshape(2, 1, 1, 1) * np.ones((1, 16, 16, 1), np.uint8)
    mix = Mix(np.array([1, 0]), np.ones(2, np.float32), np.array([[1, 3, 4, 9], [0, 0, 0, 0]]))
    pasted = np.zeros((16, 16), np.uint8)
    pasted[1:3, 4:9] = 1
    np.testing.assert_array_equal(mix.mix_images(images)[0, :, :, 0], pasted)


def test_batches_are_mixed_by_mixup_and_cutmix_in_their_shares():
    config = AugmentConfig(mixup_alpha=1.0, cutmix_alpha=1.0, cutmix_share=0.25)
    generator = np.random.default_rng(0)
    with_boxes = [draw_mix(4, config, 16, generator).boxes is not None for _ in range(400)]
    assert 0.2 < np.mean(with_boxes) < 0.3
    assert draw_mix(4, AugmentConfig(), 16, generator) is None


def test_adversarial_images_raise_the_loss_by_small_changes(dataset):
    keras.utils.set_random_seed(0)
    model = compile_model(tiny_config(), 4)
    training = dataset[Split.TRAINING]
    loss = build_loss(LossConfig())
    attacker = FastGradientSign(model, model.output["logits"], loss, AdversarialConfig(epsilon=8 / 255, share=0.5))
    images, targets = training.images[:20], targets_for(LossConfig(), training.labels[:20])
    before = [np.array(weight) for weight in model.get_weights()]
    attacked = attacker.attack(images, targets)
    differences = np.abs(attacked.astype(int) - images)
    assert differences[:10].max() == 8
    assert differences[10:].max() == 0

    def loss_on(chosen: np.ndarray) -> float:
        return float(loss(targets[:10], model.predict(chosen[:10], verbose=0)["logits"]))

    assert loss_on(attacked) > loss_on(images)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


# Optimisers


def rates(steps: list[int], **options) -> list[float]:
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.1, **options), epochs=10, steps_per_epoch=10)
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return found


@pytest.mark.parametrize(
    ("options", "steps", "expected"),
    [
        ({"schedule": "exponential", "decay_factor": 0.5}, [0, 10, 15, 20], [0.1, 0.05, 0.1 * 0.5**1.5, 0.025]),
        ({"schedule": "exponential", "decay_factor": 0.5, "hold_epochs": 2}, [0, 20, 30], [0.1, 0.1, 0.05]),
        ({"schedule": "step", "decay_factor": 0.5, "decay_epochs": 3}, [0, 29, 30, 60], [0.1, 0.1, 0.05, 0.025]),
        ({"schedule": "step", "decay_epochs": 3, "warmup_epochs": 2}, [0, 10, 20, 49, 50], [0, 0.05, 0.1, 0.1, 0.01]),
        ({"schedule": "one_cycle", "warmup_epochs": 4}, [0, 20, 40, 70, 100], [0.004, 0.052, 0.1, 0.05, 0]),
        ({"schedule": "constant", "warmup_epochs": 1}, [0, 5, 10, 99], [0, 0.05, 0.1, 0.1]),
        ({"schedule": "plateau"}, [0, 99], [0.1, 0.1]),
    ],
)
def test_schedule_has_its_rates(options, steps, expected):
    assert rates(steps, **options) == pytest.approx(expected, abs=1e-6)


def moved(**options) -> list[float]:
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.1, schedule="constant", **options), 1, 10)
    variable = keras.Variable(np.zeros(1), name="kernel")
    optimizer.build([variable])
    places = []
    for _ in range(2):
        optimizer.apply([keras.ops.ones(1) * 3])
        places.append(float(keras.ops.convert_to_numpy(variable)[0]))
    return places


def test_optimizers_take_the_steps_of_their_algorithms():
    assert moved(name="adam") == pytest.approx([-0.1, -0.2], rel=1e-4)
    assert moved(name="sgd", nesterov=False) == pytest.approx([-0.3, -0.3 - 0.57])
    assert moved(name="sgd") == pytest.approx([-0.57, -0.57 - 0.813])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_weight_decay_of_both_adams_is_decoupled(name):
    optimizer = build_optimizer(
        OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5, schedule="constant"), 1, 1
    )
    variable = keras.Variable(np.ones(1), name="kernel")
    optimizer.build([variable])
    optimizer.apply([keras.ops.zeros(1)])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), 0.95, rtol=1e-5)


# Whole runs: every option changes the weights, and an interrupted run resumes exactly

OPTIONS: dict[str, dict] = {
    "class_weights": {"loss": {"class_weights": "balanced"}},
    "focal": {"loss": {"name": "focal"}},
    "sparse": {"loss": {"name": "sparse"}},
    "oversample": {"balance": {"oversample": True}},
    "copies": {"balance": {"copies_up_to": {"disgust": 30}}},
    "mixup": {"augment": {"mixup_alpha": 0.4}},
    "cutmix": {"augment": {"cutmix_alpha": 1.0}},
    "mixup_or_cutmix": {"augment": {"mixup_alpha": 1.0, "cutmix_alpha": 1.0}},
    "logit_adjustment": {"loss": {"logit_adjustment": 1.0}},
    "sharpness_aware": {"sharpness_aware": {"last_epochs": 2}},
    "averaged_epochs": {"averaged_epochs": 2},
    "adversarial": {"adversarial": {"epsilon": 0.03}},
    "adam_then_sgd": {"fine_tuning": {"from_epoch": 1, "optimizer": {"name": "sgd", "learning_rate": 0.05}}},
    "plateau": {"optimizer": {"learning_rate": 0.5, "schedule": "plateau", "patience_epochs": 1, "decay_factor": 0.5}},
}


def checkpoint(run: RunFolder) -> dict[str, np.ndarray]:
    with np.load(run.checkpoint) as saved:
        return {name: saved[name] for name in saved.files if name != "state"}


@pytest.fixture(scope="module")
def unbalanced_dataset(dataset):
    """The tiny dataset with unbalanced labels: some disgust and angry images are labelled happy."""
    training = dataset[Split.TRAINING]
    labels = np.where((training.labels < 2) & (np.arange(len(training.labels)) > 20), 3, training.labels)
    changed = type(training)(training.images, labels, training.names)
    return type(dataset)(dict(dataset.splits) | {Split.TRAINING: changed}, dataset.sha256)


def plain_config(**changes):
    base = {"epochs": 3, "ema_momentum": None, "augment": {}, "loss": {}, "optimizer": {"learning_rate": 0.01}}
    return tiny_config(**(base | changes))


@pytest.fixture(scope="module")
def plain(unbalanced_dataset, tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("plain"))
    train(plain_config(), unbalanced_dataset, run)
    return checkpoint(run)


@pytest.mark.parametrize("option", OPTIONS)
def test_option_changes_the_run_and_resumes_exactly(option, unbalanced_dataset, plain, tmp_path):
    config = plain_config(**OPTIONS[option])
    whole, pieces = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "pieces")
    train(config, unbalanced_dataset, whole)
    for _ in range(3):
        train(config, unbalanced_dataset, pieces, stop_after_epochs=1)
        keras.utils.set_random_seed(999)
    one, other = checkpoint(whole), checkpoint(pieces)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    if option == "sparse":  # the same loss with other targets
        return
    same = one.keys() == plain.keys() and all(np.array_equal(array, plain[name]) for name, array in one.items())
    assert not same, "the option was ignored"


def test_plateau_lowers_the_rate_over_interruptions(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "validate", lambda *arguments: {"val_loss": 2.0, "val_accuracy": 0.1})
    config = plain_config(
        epochs=4,
        optimizer={"learning_rate": 0.01, "schedule": "plateau", "patience_epochs": 2, "decay_factor": 0.5},
    )
    run = RunFolder(tmp_path)
    for _ in range(4):
        state = train(config, dataset, run, stop_after_epochs=1)
    # The first epoch is the best; after two epochs without improvement the rate is halved.
    assert [entry["learning_rate"] for entry in state.history] == pytest.approx([0.01, 0.01, 0.01, 0.005])


def test_fine_tuning_starts_its_own_schedule(dataset, tmp_path):
    config = plain_config(
        epochs=4,
        optimizer={"learning_rate": 0.01, "schedule": "constant"},
        fine_tuning={"from_epoch": 2, "optimizer": {"name": "sgd", "learning_rate": 0.04, "schedule": "constant"}},
    )
    state = train(config, dataset, RunFolder(tmp_path))
    assert [entry["learning_rate"] for entry in state.history] == pytest.approx([0.01, 0.01, 0.04, 0.04])


def test_labels_of_the_balance_section_are_those_of_the_contract():
    assert set(BalanceConfig(copies_up_to=dict.fromkeys(LABELS, 1)).copies_up_to) == set(LABELS)
