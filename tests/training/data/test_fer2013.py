"""Reading FER2013: three editions give the same data, and every problem has its message."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import training.data.fer2013 as data_module
from app.contract.labels import LABELS
from tests.support.datasets import (
    FOLDERS,
    IMAGES_PER_LABEL,
    csv_rows,
    edition_files,
    flat_image,
    jpeg,
    textured_image,
    write_archive,
    write_csv,
    write_folders,
)
from tests.support.paths import SHARED_DATA, needs_shared_data
from training.data.cache import default_cache_dir
from training.data.fer2013 import EXPECTED_COUNTS, Split, load_fer2013
from training.errors import TrainingError


def load(source: Path, tmp_path: Path):
    return load_fer2013(source, cache_dir=tmp_path / "cache", allow_incomplete=True)


def problem_with(source: Path, tmp_path: Path, **options) -> str:
    with pytest.raises(TrainingError) as caught:
        load_fer2013(source, cache_dir=tmp_path / "cache", **({"allow_incomplete": True} | options))
    return str(caught.value)


def test_load_three_editions_give_the_same_splits(tmp_path):
    archive = load(write_archive(tmp_path / "a.zip", edition_files()), tmp_path)
    folders = load(write_folders(tmp_path / "folders", edition_files()), tmp_path)
    nested = load(write_folders(tmp_path / "outer" / "fer2013", edition_files()).parent, tmp_path)
    rows = load(write_csv(tmp_path / "fer2013.csv", csv_rows()), tmp_path)
    for split, count in IMAGES_PER_LABEL.items():
        assert archive[split].images.shape == (7 * count, 48, 48, 1)
        assert archive[split].images.dtype == np.uint8
        assert archive[split].counts() == (count,) * 7
        for other in (folders, nested, rows):
            levels = sorted(zip(other[split].labels.tolist(), other[split].images[:, 0, 0, 0].tolist(), strict=True))
            expected = [(code, int(flat_image(split, code, i)[0, 0])) for code in range(7) for i in range(count)]
            assert levels == expected
    assert archive.sha256 == folders.sha256 == nested.sha256


def test_load_three_editions_keep_every_pixel_in_its_place(tmp_path):
    files = {name: jpeg(textured_image(seed)) for seed, name in enumerate(sorted(edition_files()))}
    decoded = {name: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) for name, data in files.items()}
    rows = [
        [
            str(LABELS.index(name.split("/")[1])),
            " ".join(map(str, image.ravel())),
            name.split("/")[2].partition("_")[0],
        ]
        for name, image in decoded.items()
    ]
    archive = load(write_archive(tmp_path / "a.zip", files), tmp_path)
    folders = load(write_folders(tmp_path / "folders", files), tmp_path)
    table = load(write_csv(tmp_path / "fer2013.csv", rows), tmp_path)
    for split in Split:
        expected = np.stack([decoded[name] for name in archive[split].names])[..., np.newaxis]
        for edition in (archive, folders, table):
            np.testing.assert_array_equal(edition[split].images, expected)
            np.testing.assert_array_equal(edition[split].labels, archive[split].labels)


def test_load_labels_are_by_name_not_by_folder_order(tmp_path):
    dataset = load(write_archive(tmp_path / "a.zip", edition_files()), tmp_path)
    for name, label in zip(dataset[Split.TRAINING].names, dataset[Split.TRAINING].labels, strict=True):
        assert name.split("/")[1] == LABELS[label]


def test_load_missing_source_says_what_is_expected(tmp_path):
    assert "fer2013.csv" in problem_with(tmp_path / "nothing", tmp_path)


def test_load_truncated_archive_is_refused(tmp_path):
    source = write_archive(tmp_path / "a.zip", edition_files())
    source.write_bytes(source.read_bytes()[:-500])
    assert "truncated" in problem_with(source, tmp_path)


def test_load_archive_with_damaged_bytes_is_refused(tmp_path):
    source = write_archive(tmp_path / "a.zip", edition_files(), zipfile.ZIP_DEFLATED)
    content = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        member = archive.infolist()[3]
    start = member.header_offset + 30 + len(member.filename)  # a local header has 30 bytes and the name
    content[start : start + 40] = b"\xff" * 40
    source.write_bytes(content)
    assert "damaged or truncated" in problem_with(source, tmp_path)


def test_load_other_file_is_refused(tmp_path):
    (tmp_path / "data.tar").write_bytes(b"x")
    assert "'.tar'" in problem_with(tmp_path / "data.tar", tmp_path)


def test_load_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is empty" in problem_with(tmp_path / "empty", tmp_path)


SPOILERS = {
    "truncated image": ("train/happy/Training_30.jpg", lambda data: data[:-40], "not a readable JPEG"),
    # The result of a broken download: it decodes to an image with a wrong lower part.
    "zero-filled tail": (
        "train/happy/Training_30.jpg",
        lambda data: jpeg(textured_image(0))[:-500] + bytes(500),
        "not a readable JPEG",
    ),
    "no image": ("train/happy/Training_30.jpg", lambda data: b"hello", "not a readable JPEG (5 bytes)"),
    "wrong size": (
        "train/happy/Training_30.jpg",
        lambda data: jpeg(np.zeros((47, 48), np.uint8)),
        "expected 48x48 pixels. Received: 48x47",
    ),
    "unknown label": ("train/bored/Training_99.jpg", None, "unknown emotion 'bored'"),
    "test image in train": ("train/sad/PublicTest_99.jpg", None, "belongs to Training. Received: PublicTest"),
    "training image in test": ("test/sad/Training_99.jpg", None, "belongs to PublicTest or PrivateTest"),
    "stray image": ("happy/1.png", None, "expected (train|test)/<emotion>"),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_load_spoiled_file_is_named_with_its_problem(tmp_path, spoiler):
    name, change, sentence = SPOILERS[spoiler]
    files = edition_files()
    files[name] = change(files[name]) if change else jpeg(flat_image(Split.TRAINING, 0, 0))
    message = problem_with(write_archive(tmp_path / "a.zip", files), tmp_path)
    assert name in message
    assert sentence in message


def test_load_missing_split_is_refused(tmp_path):
    files = {name: data for name, data in edition_files().items() if "PrivateTest" not in name}
    assert "no image of PrivateTest" in problem_with(write_archive(tmp_path / "a.zip", files), tmp_path)


def test_load_counts_other_than_official_are_listed(tmp_path):
    message = problem_with(write_archive(tmp_path / "a.zip", edition_files()), tmp_path, allow_incomplete=False)
    assert "Training: expected 3995 angry. Received: 4" in message
    assert "and 11 more" in message


@pytest.mark.parametrize(("spoiled", "rest"), [(10, None), (11, "... and 1 more")])
def test_load_more_than_ten_problems_are_summarised(tmp_path, spoiled, rest):
    files = edition_files()
    names = sorted(name for name in files if name.startswith("train/"))[:spoiled]
    message = problem_with(write_archive(tmp_path / "a.zip", files | dict.fromkeys(names, b"spoiled")), tmp_path)
    assert [name in message for name in names] == [True] * 10 + [False] * (spoiled - 10)
    assert ("\n  ... and" in message) == (rest is not None)
    assert rest is None or message.endswith(rest)


CSV_SPOILERS = {
    "emotion": (0, "7", "emotion code 0 to 6. Received: '7'"),
    "usage": (2, "Train", "Received: 'Train'"),
    "count": (1, "1 2 3", "expected 2304 pixels (48x48). Received: 3"),
    "words": (1, "a b", "not all whole numbers"),
    "range": (1, " ".join(["256"] * 2304), "expected grey levels 0 to 255. Received: 256"),
    "negative": (1, " ".join(["-1"] * 2304), "expected grey levels 0 to 255. Received: -1"),
    "huge": (1, " ".join(["9" * 30] * 2304), "not all whole numbers from 0 to 255"),
}


@pytest.mark.parametrize("spoiler", CSV_SPOILERS)
def test_load_spoiled_csv_row_is_named_with_its_problem(tmp_path, spoiler):
    column, value, sentence = CSV_SPOILERS[spoiler]
    rows = csv_rows()
    rows[5][column] = value
    message = problem_with(write_csv(tmp_path / "fer2013.csv", rows), tmp_path)
    assert "row 000007" in message
    assert sentence in message


def test_load_csv_with_other_columns_is_refused(tmp_path):
    source = write_csv(tmp_path / "fer2013.csv", csv_rows(), header=("label", "pixels", "Usage"))
    assert "Received: label, pixels, Usage" in problem_with(source, tmp_path)


def test_load_csv_row_cut_short_is_named(tmp_path):
    rows = csv_rows()
    rows[5] = rows[5][:2]
    message = problem_with(write_csv(tmp_path / "fer2013.csv", rows), tmp_path)
    assert "row 000007: expected Usage" in message
    assert "Received: None" in message


@pytest.mark.parametrize("content", [b"\xff\xfe", b'emotion,pixels,Usage\n0,"' + b"1 " * 100_000 + b'",Training\n'])
def test_load_csv_that_is_no_csv_is_refused(tmp_path, content):
    (tmp_path / "fer2013.csv").write_bytes(content)
    assert "is not a readable CSV" in problem_with(tmp_path / "fer2013.csv", tmp_path)


def test_load_second_time_comes_from_the_cache(tmp_path, monkeypatch):
    source = write_archive(tmp_path / "a.zip", edition_files())
    first = load(source, tmp_path)

    def refuse(path):
        raise AssertionError("the source was read again")

    monkeypatch.setattr(data_module, "read_records", refuse)
    second = load(source, tmp_path)
    assert second.sha256 == first.sha256
    for split in Split:
        np.testing.assert_array_equal(second[split].images, first[split].images)
        np.testing.assert_array_equal(second[split].labels, first[split].labels)
        assert second[split].names == first[split].names


def test_load_damaged_cache_is_written_again(tmp_path):
    source = write_archive(tmp_path / "a.zip", edition_files())
    first = load(source, tmp_path)
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:1000])
    assert load(source, tmp_path).sha256 == first.sha256


def test_load_changed_source_is_read_again(tmp_path):
    files = edition_files()
    first = load(write_archive(tmp_path / "a.zip", files), tmp_path)
    files["train/happy/Training_39.jpg"] = jpeg(np.full((48, 48), 200, np.uint8))
    second = load(write_archive(tmp_path / "a.zip", files), tmp_path)
    assert len(second[Split.TRAINING].labels) == len(first[Split.TRAINING].labels) + 1


def test_load_changed_file_in_a_folder_is_read_again(tmp_path):
    source = write_folders(tmp_path / "folders", edition_files())
    first = load(source, tmp_path)
    changed = source / "train/happy/Training_30.jpg"
    changed.write_bytes(jpeg(np.full((48, 48), 200, np.uint8)))
    os.utime(changed, ns=(1, 1))  # the test does not depend on the resolution of the clock
    assert load(source, tmp_path).sha256 != first.sha256


def test_load_file_moved_to_another_label_is_read_again(tmp_path):
    source = write_folders(tmp_path / "folders", edition_files())
    load(source, tmp_path)
    shutil.move(source / "train/happy/Training_30.jpg", source / "train/sad/Training_30.jpg")
    assert load(source, tmp_path)[Split.TRAINING].counts() == (4, 4, 4, 3, 5, 4, 4)


def test_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "fer-serve"
    load_fer2013(write_archive(tmp_path / "a.zip", edition_files()), allow_incomplete=True)
    assert [path.suffix for path in (tmp_path / "fer-serve").iterdir()] == [".npz"]


@pytest.mark.parametrize("unset", [None, ""])
def test_cache_without_xdg_is_in_the_home(monkeypatch, tmp_path, unset):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if unset is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
    assert default_cache_dir() == tmp_path / ".cache" / "fer-serve"


def test_expected_counts_are_those_of_fer2013():
    assert [sum(EXPECTED_COUNTS[split]) for split in Split] == [28709, 3589, 3589]
    assert set(FOLDERS) == set(Split)


@needs_shared_data
def test_load_the_real_archive_passes_every_check():
    dataset = load_fer2013(SHARED_DATA / "fer2013.zip")
    assert {split: dataset[split].counts() for split in Split} == dict(EXPECTED_COUNTS)
