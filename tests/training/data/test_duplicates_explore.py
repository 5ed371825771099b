"""Duplicates within and across splits, and the audit of the dataset."""

from __future__ import annotations

import json

import numpy as np
import pytest

import training.data.explore as explore_module
from tests.support.datasets import split_of
from tests.support.paths import SHARED_DATA, needs_shared_data
from training.data.duplicates import Duplicates, conflicting_duplicates, duplicates_across, duplicates_within
from training.data.explore import explore
from training.data.fer2013 import Fer2013, Split, SplitData, load_fer2013


@pytest.fixture
def audited() -> Fer2013:
    splits = {
        Split.TRAINING: split_of([0, 0, 50, 60, 70], [0, 3, 1, 2, 4]),
        Split.PUBLIC_TEST: split_of([50, 50, 80], [1, 2, 5]),
        Split.PRIVATE_TEST: split_of([80, 0, 90], [6, 0, 3]),
    }
    return Fer2013(splits, "a" * 64)


def test_duplicates_across_is_a_mask_in_the_order_of_the_other_split(audited):
    mask = duplicates_across(audited[Split.TRAINING], audited[Split.PUBLIC_TEST])
    assert mask.dtype == np.bool_
    assert mask.tolist() == [True, True, False]


def test_duplicates_across_images_that_differ_in_one_pixel_are_none():
    one = split_of([7], [0])
    images = one.images.copy()
    images[0, 47, 47, 0] += 1
    assert not duplicates_across(one, SplitData(images, one.labels, one.names)).any()


def test_duplicates_across_a_mirrored_image_is_none():
    image = np.arange(48 * 48, dtype=np.uint32).reshape(1, 48, 48, 1).astype(np.uint8)
    one = SplitData(image, np.zeros(1, np.int64), ("a",))
    other = SplitData(np.ascontiguousarray(image[:, :, ::-1]), one.labels, one.names)
    assert not duplicates_across(one, other).any()
    assert duplicates_across(
        one, SplitData(np.asfortranarray(image), one.labels, one.names)
    ).all()  # in every memory layout


def test_conflicting_duplicates_have_only_other_labels_in_training():
    training = split_of([1, 1, 2], [0, 3, 4])
    assert conflicting_duplicates(training, split_of([1, 1, 1, 2, 9], [0, 3, 5, 6, 6])) == 2


def test_duplicates_within_a_split_without_any_are_none():
    assert duplicates_within(split_of([1, 2, 3], [0, 0, 0])) == Duplicates(groups=0, surplus=0, conflicting=0)


def test_explore_audit_counts_blank_images_and_duplicates(audited, tmp_path):
    audit = explore(audited, tmp_path)
    assert audit == json.loads((tmp_path / "audit.json").read_text())
    training = audit["splits"]["Training"]
    assert training["duplicates_within"] == {"groups": 1, "surplus": 1, "conflicting": 1}
    assert training["grey_mean"] == 36.0
    assert audit["duplicates_in_training"] == {
        "PublicTest": {"images": 2, "with_another_label": 1},
        "PrivateTest": {"images": 1, "with_another_label": 0},
    }
    assert audit["duplicates_in_public_test"] == {"PrivateTest": {"images": 1, "with_another_label": 1}}


def test_explore_names_blank_images_and_counts_constant_ones(tmp_path, audited):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(4, 48, 48, 1), dtype=np.uint8)
    images[1] = 9
    images[3] = 100 + generator.integers(0, 3, size=(48, 48, 1), dtype=np.uint8)
    noisy = SplitData(images, np.array([0, 1, 2, 3]), ("a", "constant", "c", "nearly"))
    audit = explore(Fer2013({**audited.splits, Split.TRAINING: noisy}, "a" * 64), tmp_path)["splits"]["Training"]
    assert (audit["constant_images"], audit["blank_images"]) == (1, 2)
    assert audit["blank_names"] == ["constant", "nearly"]


def test_explore_prints_the_counts_of_every_split(audited, tmp_path, capsys):
    explore(audited, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert ["all", "5", "3", "3"] in [line.split() for line in lines]
    assert ["happy", "1", "0", "1"] in [line.split() for line in lines]
    assert "PrivateTest: 1 images are in PublicTest too, 1 of them with another label" in lines


def test_explore_samples_are_of_their_label_and_follow_the_seed(dataset, tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(explore_module.plots, "plot_samples", lambda samples, path: sheets.append(samples))
    for seed in (1, 1, 2):
        explore(dataset, tmp_path, seed)
    training = dataset[Split.TRAINING]
    for code, images in enumerate(sheets[0]):
        known = {image.tobytes() for image in training.images[training.labels == code]}
        assert len(images) == 10
        assert {image.tobytes() for image in images} == known
    assert all((one == two).all() for one, two in zip(sheets[0], sheets[1], strict=True))
    assert any((one != two).any() for one, two in zip(sheets[0], sheets[2], strict=True))


@needs_shared_data
def test_explore_the_real_data_gives_the_published_audit(tmp_path):
    audit = explore(load_fer2013(SHARED_DATA / "fer2013.zip"), tmp_path)
    training = audit["splits"]["Training"]
    assert training["duplicates_within"] == {"groups": 1035, "surplus": 1236, "conflicting": 39}
    assert audit["duplicates_in_training"] == {
        "PublicTest": {"images": 280, "with_another_label": 7},
        "PrivateTest": {"images": 288, "with_another_label": 9},
    }
    assert (training["constant_images"], training["blank_images"]) == (11, 12)
