"""Exact duplicates: small cases, the audit, and the known counts of FER2013."""

from __future__ import annotations

from tests.support.datasets import split_of, tiny_dataset
from tests.support.paths import SHARED_DATA, needs_shared_data
from training.data.duplicates import Duplicates, conflicting_duplicates, duplicates_across, duplicates_within
from training.data.explore import explore
from training.data.fer2013 import Split, load_fer2013


def test_duplicates_within_counts_surplus_groups_and_conflicts():
    split = split_of([1, 1, 1, 2, 2, 3], [0, 0, 0, 1, 2, 3])
    assert duplicates_within(split) == Duplicates(groups=2, surplus=3, conflicting=1)


def test_duplicates_across_splits_are_found_by_pixels():
    training, other = split_of([1, 2, 2], [0, 1, 2]), split_of([5, 2, 1, 2], [0, 1, 4, 6])
    assert duplicates_across(training, other).tolist() == [False, True, True, True]
    assert conflicting_duplicates(training, other) == 2


def test_explore_writes_the_audit_and_its_plots(tmp_path, capsys):
    audit = explore(tiny_dataset(), tmp_path)
    assert audit["splits"]["Training"]["counts"]["angry"] == 10
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "counts.png", "samples.png"}
    printed = capsys.readouterr().out
    assert "PrivateTest: 0 images are in Training too" in printed


@needs_shared_data
def test_duplicates_of_fer2013_have_their_known_counts():
    dataset = load_fer2013(SHARED_DATA / "fer2013.zip")
    training = dataset[Split.TRAINING]
    assert duplicates_within(training).surplus == 1236
    assert int(duplicates_across(training, dataset[Split.PUBLIC_TEST]).sum()) == 280
    assert int(duplicates_across(training, dataset[Split.PRIVATE_TEST]).sum()) == 288
