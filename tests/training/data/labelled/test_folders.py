"""Folders and archives: layouts, class names, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.contract.preprocess import resize_to_crop
from app.vision.decode import decode_grey
from tests.support.datasets import edition_files, write_archive
from tests.support.labelled import class_files, encoded, noise, png, write_files
from training.data.labelled import Source, SplitName, load_labelled
from training.data.labelled.classes import load_class_map
from training.errors import TrainingError


def counts(data) -> dict[str, int]:
    return {split.value: len(data[split]) for split in SplitName}


def test_folders_with_splits(tmp_path):
    files = class_files(["happy", "sad"], 3, prefix="train/")
    files |= class_files(["happy", "sad"], 2, seed=50, prefix="Valid/") | class_files(
        ["sad"], 1, seed=90, prefix="test/"
    )
    data = load_labelled([Source(write_files(tmp_path, files))])
    assert counts(data) == {"train": 6, "validation": 4, "test": 1}
    assert data.stated_splits
    assert data.classes == ("happy", "sad")
    assert "Classes with images: 2 of 7; no angry" in data.report.text()
    first = decode_grey(files["train/happy/0.png"], 10**6)
    index = data.all.paths.index("train/happy/0.png")
    assert np.array_equal(data.all.images[index], resize_to_crop(first))


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("Anger", "angry"),
        ("HAPPINESS", "happy"),
        ("joy", "happy"),
        ("sadness", "sad"),
        ("surprised", "surprise"),
        ("disgusted", "disgust"),
        ("scared", "fear"),
        ("Fearful", "fear"),
        (" neutral", "neutral"),
    ],
)
def test_usual_class_names(tmp_path, folder, label):
    assert load_labelled([Source(write_files(tmp_path, class_files([folder], 2)))]).classes == (label,)


@pytest.mark.parametrize(("name", "number", "label"), [("rafdb", "1", "surprise"), ("affectnet", "0", "neutral")])
def test_numbers_of_data_sets(tmp_path, name, number, label):
    source = Source(write_files(tmp_path, class_files([number], 2)), classes=load_class_map(name))
    assert load_labelled([source]).classes == (label,)


def test_numbers_without_a_map_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"Received, with images: '1' \(2\), '7' \(2\).*--classes rafdb.*--drop 1"):
        load_labelled([Source(write_files(tmp_path, class_files(["1", "7"], 2)))])


def test_contempt_is_refused_and_can_be_dropped(tmp_path):
    source = Source(write_files(tmp_path, class_files(["happy", "Contempt"], 3)))
    with pytest.raises(TrainingError, match=r"none of the labels.*'contempt' \(3\).*my\.toml.*--drop contempt"):
        load_labelled([source])
    data = load_labelled([source], ["Contempt"])
    assert data.classes == ("happy",)
    assert "left out with --drop: 3 images" in data.report.text()


def test_number_of_affectnet_is_dropped_by_its_name(tmp_path):
    files = class_files(["1", "7"], 3)
    source = Source(write_files(tmp_path, files), classes=load_class_map("affectnet"))
    assert load_labelled([source], ["contempt"]).classes == ("happy",)
    assert load_labelled([source], ["7"]).classes == ("happy",)


def test_drop_of_a_label_and_of_everything(tmp_path):
    source = Source(write_files(tmp_path, class_files(["happy", "sad"], 3)))
    assert load_labelled([source], ["sad"]).classes == ("happy",)
    with pytest.raises(TrainingError, match="--drop leaves no image"):
        load_labelled([source], ["sad", "happy"])


def test_drop_of_a_class_that_does_not_exist_is_refused(tmp_path):
    source = Source(write_files(tmp_path, class_files(["happy", "sad"], 3)))
    with pytest.raises(TrainingError, match=r"--drop: expected classes of the data: happy, sad.*Received: contemt"):
        load_labelled([source], ["contemt"])


def test_class_map_of_a_file(tmp_path):
    mapping = tmp_path / "map.toml"
    mapping.write_text('[classes]\n"Calm" = "neutral"\n4 = "fear"\n', encoding="utf-8-sig")
    files = class_files(["calm", "4", "joy"], 2)
    data = load_labelled([Source(write_files(tmp_path / "set", files), classes=load_class_map(str(mapping)))])
    assert data.classes == ("fear", "happy", "neutral")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"expected one table \[classes\].*Received: an empty file"),
        ('[labels]\n1 = "happy"\n', r"expected one table \[classes\].*Received: labels"),
        ('[classes]\n1 = "contempt"\n', r"expected one of angry.*for '1'. Received: 'contempt'.*--drop"),
        ("[classes]\n1 = happy\n", "not a valid TOML"),
    ],
)
def test_bad_class_map_is_refused(tmp_path, content, message):
    path = tmp_path / "map.toml"
    path.write_text(content)
    with pytest.raises(TrainingError, match=message):
        load_class_map(str(path))


def test_unknown_and_missing_class_map_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"expected names, rafdb, affectnet or a .toml file.*Received: ck"):
        load_class_map("ck")
    with pytest.raises(TrainingError, match="cannot be read: No such file"):
        load_class_map(str(tmp_path / "none.toml"))


def test_wrapper_folders_hidden_files_and_subfolders(tmp_path):
    files = class_files(["happy", "sad"], 2, prefix="release/DATASET/train/")
    files |= class_files(["happy/subject 1"], 1, seed=70, prefix="release/DATASET/test/")
    files |= {"release/DATASET/.DS_Store": b"x", "release/__MACOSX/train/happy/0.png": b"x"}
    files |= {"release/DATASET/train/happy/Thumbs.db": b"x", "release/DATASET/readme.txt": b"x"}
    data = load_labelled([Source(write_files(tmp_path, files))])
    assert counts(data) == {"train": 4, "validation": 0, "test": 1}
    assert data.report.bad_files == ()


def test_archive_of_folders(tmp_path):
    files = class_files(["happy", "sad"], 3, prefix="set/train/") | class_files(["sad"], 2, seed=50, prefix="set/test/")
    archive = write_archive(tmp_path / "set.zip", files)
    folder = write_files(tmp_path / "unpacked", files)
    assert load_labelled([Source(archive)]).sha256 == load_labelled([Source(folder)]).sha256
    assert counts(load_labelled([Source(archive)])) == {"train": 6, "validation": 0, "test": 2}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": b"x"}, r"contains no image. Expected <split>/<class>/<image> or <class>/<image>.*1 other files"),
        ({"0.png": b"x", "1.png": b"x"}, r"contains no class folders.*2 images without a folder.*path,label"),
        ({"train/0.png": b"x", "test/0.png": b"x"}, "contains no class folders"),
        (
            {"train/sad/0.png": b"x", "test/sad/0.png": b"x", "extra/sad/0.png": b"x"},
            r"folders of splits \(test, train\) beside other folders.*Received also: extra. Rename",
        ),
    ],
)
def test_other_layouts_are_refused(tmp_path, files, message):
    with pytest.raises(TrainingError, match=message):
        load_labelled([Source(write_files(tmp_path, files))])


def test_missing_and_unknown_sources_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"none does not exist. Expected FER2013"):
        load_labelled([Source(tmp_path / "none")])
    (tmp_path / "set.parquet").write_bytes(b"x")
    with pytest.raises(
        TrainingError, match=r"unknown type. Expected FER2013.*Received: a file that ends in '.parquet'"
    ):
        load_labelled([Source(tmp_path / "set.parquet")])
    (tmp_path / "set.zip").write_bytes(b"x")
    with pytest.raises(TrainingError, match=r"not a readable .zip archive"):
        load_labelled([Source(tmp_path / "set.zip")])


def test_links_are_followed_and_loops_end(tmp_path):
    write_files(tmp_path / "pictures", {f"{index}.png": png(index) for index in range(3)})
    folder = write_files(tmp_path / "set", class_files(["sad"], 3, seed=50))
    (folder / "happy").symlink_to(tmp_path / "pictures", target_is_directory=True)
    (folder / "sad" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "sad" / "broken.png").symlink_to(tmp_path / "none.png")
    data = load_labelled([Source(folder)])
    assert sorted(data.all.paths) == [
        "happy/0.png",
        "happy/1.png",
        "happy/2.png",
        "sad/0.png",
        "sad/1.png",
        "sad/2.png",
    ]
    reasons = {bad.path: bad.reason for bad in data.report.bad_files}
    assert reasons == {
        "sad/again": "the link leads to a folder above it",
        "sad/broken.png": "expected a file. Received: no such file",
    }


def test_formats_of_the_service(tmp_path):
    files = {
        "happy/colour.jpg": encoded(noise(1, 100, "RGB"), "JPEG"),
        "happy/cmyk.jpg": encoded(noise(2, 100, "CMYK"), "JPEG"),
        "happy/wide.webp": encoded(noise(3).resize((120, 60)), "WEBP", lossless=True),
        "happy/animated.gif": encoded(noise(4), "GIF", save_all=True, append_images=[noise(5)]),
        "happy/sixteen.tif": encoded(noise(6).convert("I;16").point(lambda level: level * 257), "TIFF"),
        "happy/transparent.png": encoded(noise(7, 64, "LA")),
        "happy/palette.bmp": encoded(noise(8, 64, "P"), "BMP"),
        "happy/no name": encoded(noise(9)),
    }
    data = load_labelled([Source(write_files(tmp_path, files))])
    assert data.report.bad_files == ()
    for name, content in files.items():
        crop = data.all.images[data.all.paths.index(name)]
        assert np.array_equal(crop, resize_to_crop(decode_grey(content, 10**6))), name


def test_bad_files_are_listed_with_their_reasons(tmp_path):
    files = class_files(["happy", "sad"], 20)
    files |= {
        "happy/empty.png": b"",
        "happy/text.jpg": b"not an image",
        "happy/cut.png": png(900)[:200],
        "happy/tiny.png": encoded(noise(901, 4)),
        "outside.png": png(902),
    }
    source = Source(write_files(tmp_path, files))
    data = load_labelled([source])
    reasons = {bad.path: bad.reason for bad in data.report.bad_files}
    assert len(data.all) == 40
    assert reasons.keys() == {"happy/empty.png", "happy/text.jpg", "happy/cut.png", "happy/tiny.png", "outside.png"}
    assert reasons["happy/empty.png"] == "the image has no bytes"
    assert "Received: text" in reasons["happy/text.jpg"]
    assert "truncated" in reasons["happy/cut.png"]
    assert "Received: 4x4" in reasons["happy/tiny.png"]
    assert "outside the class folders" in reasons["outside.png"]
    assert "Left out because they cannot be used: 5 files or rows." in data.report.text()
    with pytest.raises(TrainingError, match=r"(?s)--strict.*5 files or rows.*tiny.png.*leave out --strict"):
        load_labelled([source], strict=True)


def test_only_bad_files_are_refused(tmp_path):
    source = Source(write_files(tmp_path, {f"sad/{index}.png": b"x" for index in range(30)}))
    with pytest.raises(TrainingError, match=r"(?s)contains no usable image.*30 files.*and 20 more"):
        load_labelled([source])


def test_selection_of_fer2013_keeps_its_splits(tmp_path):
    data = load_labelled([Source(write_archive(tmp_path / "fer2013.zip", edition_files()))])
    assert not data.is_fer2013
    assert set(data.splits) == set(SplitName)
    public = [path for path, split in zip(data.all.paths, data.splits, strict=True) if split is SplitName.VALIDATION]
    assert public
    assert all(Path(path).name.startswith("PublicTest") for path in public)
