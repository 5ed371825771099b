"""Several sources, splits by content hash, duplicates across splits, and `--crop`."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.config import Settings
from app.contract.preprocess import crop_face
from app.main import load_detector
from app.vision.decode import decode_grey
from tests.support.labelled import class_files, encoded, noise, png, write_files, write_table
from tests.support.paths import REPOSITORY
from training.data.labelled import Source, SplitName, load_labelled, parse_source, parse_sources, with_validation
from training.data.labelled.near_duplicates import duplicates_across_splits
from training.data.splits import Split
from training.errors import TrainingError

ASTRONAUT = REPOSITORY / "tests/photos/astronaut.jpg"


def splits_by_content(data) -> dict[bytes, SplitName]:
    return {image.tobytes(): split for image, split in zip(data.all.images, data.splits, strict=True)}


def test_split_by_content_is_repeatable_and_stable(tmp_path):
    files = class_files(["happy", "sad"], 100)
    first = load_labelled([Source(write_files(tmp_path / "first", files))])
    renamed = {name.replace(".png", "-x.png"): data for name, data in files.items()}
    more = class_files(["happy", "sad", "angry"], 50, seed=5000)
    second = load_labelled(
        [Source(write_files(tmp_path / "second", renamed | {f"{k}.png": v for k, v in more.items()}))]
    )
    before, after = splits_by_content(first), splits_by_content(second)
    assert not first.stated_splits
    assert "states no splits: 80 % train, 10 % validation, 10 % test by content hash" in first.report.text()
    assert {key: after[key] for key in before} == before
    shares = [len(first[split]) / 200 for split in SplitName]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.06)


def test_split_by_content_gives_each_split_an_image_of_small_classes(tmp_path):
    for seed in range(8):
        folder = write_files(tmp_path / str(seed), class_files(["happy", "sad"], 4, seed=10 * seed))
        data = load_labelled([Source(folder)])
        assert all(min(data[split].counts()[3:5]) >= 1 for split in SplitName)


def test_split_by_a_column_keeps_persons_together(tmp_path):
    files = {f"faces/{index}.png": png(index) for index in range(200)}
    rows = [["path", "label", "person"]]
    rows += [[name, ("happy", "sad")[i % 2], f"person {i // 5}" if i < 190 else ""] for i, name in enumerate(files)]
    source = Source(write_table(write_files(tmp_path, files) / "set.csv", rows))
    data = load_labelled([source], split_by="person")
    persons = {split: set(data[split].groups["person"]) - {""} for split in SplitName}
    assert all(persons.values())
    assert sum(map(len, persons.values())) == 38
    assert "by person hash" in data.report.text()
    with pytest.raises(TrainingError, match=r"--split-by: expected a column.*: person. Received: subject"):
        load_labelled([source], split_by="subject")


def test_validation_is_cut_from_train(tmp_path):
    files = class_files(["happy", "sad"], 60, prefix="train/") | class_files(["sad"], 5, seed=5000, prefix="test/")
    data = load_labelled([Source(write_files(tmp_path, files))])
    assert data.present_splits() == (SplitName.TRAIN, SplitName.TEST)
    cut = with_validation(data)
    assert 3 <= len(cut[SplitName.VALIDATION]) <= 25
    assert len(cut[SplitName.VALIDATION]) + len(cut[SplitName.TRAIN]) == 120
    assert len(cut[SplitName.TEST]) == 5
    assert "has no validation split" in cut.report.text()
    assert with_validation(cut) is cut


def test_validation_that_is_cut_from_train_has_no_duplicates_in_train(tmp_path):
    pictures = [noise(seed, 120) for seed in range(100)]
    files = {f"train/happy/{index}.png": encoded(picture) for index, picture in enumerate(pictures)}
    files |= {f"train/happy/{index}-again.jpg": encoded(picture, "JPEG") for index, picture in enumerate(pictures)}
    cut = with_validation(load_labelled([Source(write_files(tmp_path, files))]))
    names = {split: {path.split(".")[0].split("-")[0] for path in cut[split].paths} for split in SplitName}
    assert names[SplitName.VALIDATION]
    assert not names[SplitName.VALIDATION] & names[SplitName.TRAIN]
    assert cut.report.duplicates


def test_sources_are_joined_with_weights_and_groups(tmp_path):
    folder = write_files(tmp_path / "one", class_files(["happy"], 3, prefix="train/"))
    write_files(tmp_path / "two", {f"{index}.png": png(500 + index) for index in range(3)})
    rows = [["path", "label", "split", "age"]] + [[f"two/{index}.png", "1", "test", "young"] for index in range(3)]
    table = write_table(tmp_path / "two.csv", rows)
    data = load_labelled(parse_sources([f"{folder}@0.5", str(table)], ["names", "rafdb"]))
    assert data.all.weights.tolist() == [0.5, 0.5, 0.5, 1, 1, 1]
    assert data.all.groups == {"age": ("", "", "", "young", "young", "young")}
    assert [len(data[split]) for split in SplitName] == [3, 0, 3]
    assert data.all.paths[0] == f"{folder}: train/happy/0.png"


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "x"])
def test_bad_weight_is_refused(weight):
    with pytest.raises(TrainingError, match=rf"expected PATH or PATH@WEIGHT.*Received: the weight '{weight}'"):
        parse_source(f"set.csv@{weight}")


def test_path_with_an_at_sign(tmp_path):
    path = tmp_path / "me@2"
    path.mkdir()
    assert parse_source(str(path)).path == path
    assert parse_source(f"{path}@3").weight == 3


def test_number_of_class_maps_and_repeated_sources_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"--classes once, or once for each --data \(3\).*Received: 2 values"):
        parse_sources(["a", "b", "c"], ["rafdb", "names"])
    folder = write_files(tmp_path, class_files(["happy"], 3))
    with pytest.raises(TrainingError, match="expected each --data once"):
        load_labelled([Source(folder), Source(folder)])


def test_duplicates_across_splits_are_left_out(tmp_path):
    picture = noise(7, 120)
    files = class_files(["happy", "sad"], 5, prefix="train/") | class_files(["happy"], 3, seed=50, prefix="test/")
    files |= class_files(["happy"], 3, seed=80, prefix="val/")
    files |= {
        "test/happy/original.png": encoded(picture),
        "train/happy/same.png": encoded(picture),
        "train/sad/again.jpg": encoded(picture.resize((80, 80)), "JPEG", quality=60),
        "train/happy/darker.jpg": encoded(picture.point(lambda level: level * 0.8), "JPEG"),
        "val/happy/cut.png": encoded(picture.crop((2, 2, 118, 118))),
    }
    source = Source(write_files(tmp_path, files))
    data = load_labelled([source])
    assert [len(data[split]) for split in SplitName] == [10, 3, 4]
    assert "test/happy/original.png" in data.all.paths
    pairs = {pair.left_out: pair for pair in data.report.duplicates}
    assert pairs.keys() == {
        "train/happy/same.png (train)",
        "train/sad/again.jpg (train)",
        "train/happy/darker.jpg (train)",
        "val/happy/cut.png (validation)",
    }
    assert pairs["train/happy/same.png (train)"].exact
    assert not pairs["train/sad/again.jpg (train)"].exact
    assert pairs["train/sad/again.jpg (train)"].other_label
    assert (
        "another split has the picture: 4 images (1 identical, 3 similar; 1 with another label)" in data.report.text()
    )
    assert [len(load_labelled([source], keep_similar=True)[split]) for split in SplitName] == [12, 4, 4]


def test_duplicates_within_a_split_are_counted_and_kept(tmp_path):
    files = {f"train/happy/{index}.png": png(1) for index in range(3)} | class_files(["sad"], 2, 50, "train/")
    data = load_labelled([Source(write_files(tmp_path, files))])
    assert len(data.all) == 5
    assert data.report.duplicates_within == 2


def test_many_similar_images_give_a_hint(tmp_path):
    files = {f"{split}/happy/{index}.png": png(1) for split in ("train", "test") for index in range(5)}
    text = load_labelled([Source(write_files(tmp_path, files))]).report.text()
    assert "5 of 10 images are left out" in text
    assert "--keep-similar" in text


def test_crop_finds_the_largest_face(tmp_path):
    portrait = Image.open(ASTRONAUT).convert("L")
    pair = Image.new("L", (portrait.width * 2, portrait.height))
    pair.paste(portrait, (0, 0))
    pair.paste(portrait.resize((portrait.width // 2, portrait.height // 2)), (portrait.width, 0))
    files = {
        "happy/one.jpg": ASTRONAUT.read_bytes(),
        "happy/two.png": encoded(pair),
        "happy/none.png": encoded(Image.new("L", (48, 48), 90)),
    }
    data = load_labelled([Source(write_files(tmp_path, files))], crop=True)
    grey = decode_grey(ASTRONAUT.read_bytes(), 10**7)
    expected = crop_face(grey, load_detector(Settings()).detect(grey)[0].box)
    assert np.array_equal(data.all.images[data.all.paths.index("happy/one.jpg")], expected)
    (bad,) = data.report.bad_files
    assert bad.path == "happy/none.png"
    assert "expected a face. Received: no face found in 48x48 pixels" in bad.reason
    assert "several faces, of which the largest is used: 1." in data.report.text()


def test_as_dataset_has_the_official_splits(tmp_path):
    data = load_labelled([Source(write_files(tmp_path, class_files(["happy", "sad"], 40)))])
    dataset = data.as_dataset("own")
    assert {split: len(dataset[split].labels) for split in Split} == {
        Split.TRAINING: len(data[SplitName.TRAIN]),
        Split.PUBLIC_TEST: len(data[SplitName.VALIDATION]),
        Split.PRIVATE_TEST: len(data[SplitName.TEST]),
    }
    assert dataset.sha256 == data.sha256


def test_as_dataset_names_the_missing_split(tmp_path):
    data = load_labelled([Source(write_files(tmp_path, class_files(["happy"], 4, prefix="train/")))])
    with pytest.raises(TrainingError, match="Received: no image of validation, test"):
        data.as_dataset("own")


def test_an_image_that_is_left_out_protects_no_other():
    """Each picture is similar to the next one only: the second is left out, so the third stays."""
    picture = np.asarray(noise(0, 72))
    images = np.stack([picture[row : row + 48, :48] for row in range(3)])[..., np.newaxis]
    first, second, third = SplitName.TEST, SplitName.VALIDATION, SplitName.TRAIN
    assert [match.left_out for match in duplicates_across_splits(images, [first, second, third])] == [1]
    assert [match.left_out for match in duplicates_across_splits(images[1:], [second, third])] == [1]
