"""CSV files: encodings, separators, columns, paths, and refusals."""

from __future__ import annotations

import pytest

from tests.support.labelled import class_files, png, write_files, write_table
from training.data.labelled import Source, SplitName, load_labelled
from training.data.labelled.classes import load_class_map
from training.errors import TrainingError


@pytest.fixture
def images(tmp_path):
    return write_files(tmp_path, {f"faces/{index}.png": png(index) for index in range(6)} | {"faces/a, b.png": png(60)})


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_encodings_and_separators(images, delimiter, encoding):
    rows = [
        ["Path", " label", "SPLIT", "Géschlecht, m/w"],
        ["faces/0.png", "Anger", "train", "w; ü"],
        ["faces/a, b.png", "happy", "val", "m"],
        [],
        ["faces/1.png", "sad", "Test", ""],
    ]
    data = load_labelled([Source(write_table(images / "set.csv", rows, delimiter, encoding))])
    assert [len(data[split]) for split in SplitName] == [1, 1, 1]
    assert data.all.groups == {"Géschlecht, m/w": ("w; ü", "m", "")}
    assert data.all.paths == ("faces/0.png", "faces/a, b.png", "faces/1.png")
    assert data.report.bad_files == ()


def test_numbers_as_pandas_writes_them(images):
    rows = [["path", "label"], ["faces/0.png", "1.0"], ["faces/1.png", "02"]]
    source = Source(write_table(images / "set.csv", rows), classes=load_class_map("rafdb"))
    assert load_labelled([source]).classes == ("fear", "surprise")


def test_paths_absolute_of_windows_and_missing(images):
    rows = [
        ["path", "label"],
        [str(images / "faces/0.png"), "happy"],
        ["faces\\1.png", "happy"],
        [".\\faces\\2.png", "sad"],
        ["C:\\faces\\3.png", "sad"],
        ["faces/none.png", "sad"],
        ["faces", "sad"],
    ]
    data = load_labelled([Source(write_table(images / "set.csv", rows))])
    assert len(data.all) == 3
    reasons = {bad.path: bad.reason for bad in data.report.bad_files}
    assert reasons["C:\\faces\\3.png"].endswith("no such file")
    assert reasons["faces/none.png"].endswith("no such file")
    assert reasons["faces"].endswith("a folder")


def test_repeated_and_conflicting_rows(images):
    rows = [["path", "label"], ["faces/0.png", "happy"], ["faces/0.png", "joy"], ["faces/1.png", "sad"]]
    rows += [["faces/1.png", "happy"], ["faces/2.png", "sad"], ["faces/3.png", ""], ["faces/4.png", "sad", "x"]]
    data = load_labelled([Source(write_table(images / "set.csv", rows))])
    assert sorted(data.all.paths) == ["faces/0.png", "faces/2.png"]
    reasons = {bad.path: bad.reason for bad in data.report.bad_files}
    assert "the same path and label are in row 2" in reasons["row 3 (faces/0.png)"]
    assert "different ones in row 4 and row 5" in reasons["faces/1.png"]
    assert "expected a value in label" in reasons["row 7"]
    assert "expected 2 values. Received: 3" in reasons["row 8"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"expected the columns path,label.*Received: an empty file"),
        ([["image", "label"]], r"expected the columns path,label.*Received: image, label. Rename"),
        ([["path", "label", "label"]], r"expected each column once. Received twice: 'label'"),
        ([["path", "label"]], r"lists no image"),
        (
            [["path", "label", "split"], ["faces/0.png", "sad", "train"], ["faces/1.png", "sad", "holdout"]],
            r"expected the splits train, val.*in every row or in none. Received: 'holdout' \(1 rows\)",
        ),
        (
            [["path", "label", "split"], ["faces/0.png", "sad", "train"], ["faces/1.png", "sad", ""]],
            r"in every row or in none. Received: '' \(1 rows\)",
        ),
        (
            [["path", "label"], ["faces/0.png", "furious"]],
            r"none of the labels.*Received, with images: 'furious' \(1\)",
        ),
    ],
)
def test_other_tables_are_refused(images, rows, message):
    with pytest.raises(TrainingError, match=message):
        load_labelled([Source(write_table(images / "set.csv", rows))])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nfaces/0.png,sad\n".encode("utf-16"), "expected UTF-8. Received: UTF-16. Save"),
        (b"path,label\nfaces/\xfc.png,sad\n", "expected UTF-8. Received: byte 0xfc at 17"),
        (b'path,label\n"faces/0.png,sad\n', "is not valid CSV"),
    ],
)
def test_other_encodings_are_refused(images, content, message):
    (images / "set.csv").write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        load_labelled([Source(images / "set.csv")])


def test_empty_column_split_means_no_splits(images):
    rows = [["path", "label", "split"], ["faces/0.png", "sad", ""], ["faces/1.png", "sad", ""]]
    assert not load_labelled([Source(write_table(images / "set.csv", rows))]).stated_splits


def test_csv_and_folders_of_the_same_files_are_equal(tmp_path):
    files = class_files(["happy", "sad"], 4, prefix="train/") | class_files(["sad"], 2, seed=70, prefix="test/")
    write_files(tmp_path / "set", files)
    rows = [["path", "label", "split"]] + [[f"set/{name}", name.split("/")[1], name.split("/")[0]] for name in files]
    table = write_table(tmp_path / "set.csv", rows)
    assert load_labelled([Source(table)]).sha256 == load_labelled([Source(tmp_path / "set")]).sha256
