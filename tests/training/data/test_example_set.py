"""The labelled set that `example-set` makes from PublicTest."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from app.contract.labels import LABELS
from tests.support.datasets import VOTES_HEADER, write_votes
from tests.support.labelled import noise
from training.data.annotator_votes import AnnotatorVotes
from training.data.example_set import write_example_set
from training.data.labelled import Source, SplitName, load_labelled
from training.data.labelled.classes import load_class_map
from training.data.splits import Fer2013, Split, SplitData
from training.errors import TrainingError

COLUMN_OF_LABEL = {"happy": "happiness", "sad": "sadness", "angry": "anger"}


@pytest.fixture
def dataset() -> Fer2013:
    """PublicTest of 60 images of three labels; the other splits are not used."""
    images = np.stack([np.asarray(noise(seed)) for seed in range(60)])[..., np.newaxis]
    labels = np.array([LABELS.index(list(COLUMN_OF_LABEL)[index % 3]) for index in range(60)], dtype=np.int64)
    names = tuple(f"test/{LABELS[label]}/PublicTest_{index}.jpg" for index, label in enumerate(labels))
    return Fer2013({Split.PUBLIC_TEST: SplitData(images, labels, names)}, "0" * 64)


@pytest.fixture
def votes(dataset, tmp_path) -> AnnotatorVotes:
    """Nine or six votes for `happy`, whatever the original label; none for every tenth image."""
    columns = VOTES_HEADER.split(",")[1:]
    rows = {}
    for index, name in enumerate(dataset[Split.PUBLIC_TEST].names):
        count = 0 if index % 10 == 0 else (9, 6)[index % 2]
        row = dict.fromkeys(columns, 0) | {"happiness": count, "neutral": 10 - count if count == 6 else 0}
        rows[name] = ",".join(str(row[column]) for column in columns)
    return AnnotatorVotes(write_votes(tmp_path / "votes.csv", rows))


def test_folders_and_csv_are_one_set(dataset, votes, tmp_path, monkeypatch):
    monkeypatch.setattr("training.data.example_set.MAX_TRAIN_IMAGES", 40)
    counts = write_example_set(dataset, votes, tmp_path / "set", 30)
    assert counts == {"train": 30, "test": 14}  # 54 have a majority; ten training images are not asked for
    rafdb = load_class_map("rafdb")
    table = load_labelled([Source(tmp_path / "set/labels.csv", classes=rafdb)])
    folders = load_labelled([Source(tmp_path / "set", classes=rafdb)])
    assert table.sha256 == folders.sha256
    assert table.classes == ("happy",)  # the annotators' label
    assert [len(table[split]) for split in SplitName] == [30, 0, 14]
    assert set(table.all.groups["agreement"]) == {"clear", "unclear"}
    assert set(table.all.groups["half"]) == {"a", "b"}
    with Image.open(next((tmp_path / "set/train/4").iterdir())) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (100, 100), "RGB")


def test_fewer_images_are_a_subset_with_the_same_test_split(dataset, votes, tmp_path, monkeypatch):
    monkeypatch.setattr("training.data.example_set.MAX_TRAIN_IMAGES", 40)
    paths = []
    for images in (40, 10):
        write_example_set(dataset, votes, tmp_path / str(images), images)
        with (tmp_path / str(images) / "labels.csv").open() as file:
            paths.append({row["path"] for row in csv.DictReader(file)})
    large, small = paths
    assert small < large
    assert {path for path in large if path.startswith("test")} == {path for path in small if path.startswith("test")}


def test_bad_arguments_are_refused(dataset, votes, tmp_path):
    with pytest.raises(TrainingError, match=r"--images: expected 1 to 2000. Received: 0"):
        write_example_set(dataset, votes, tmp_path / "set", 0)
    with pytest.raises(TrainingError, match="is not empty"):
        write_example_set(dataset, votes, tmp_path, 10)
