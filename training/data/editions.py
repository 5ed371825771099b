"""Readers of the three editions of FER2013: Kaggle's archive of folders, the unpacked folders, and `fer2013.csv`."""

from __future__ import annotations

import csv
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.data.problems import Problems
from training.data.splits import Split
from training.errors import TrainingError

_MEMBER = re.compile(
    r"(?:^|/)(?P<folder>train|test)/(?P<label>[^/]+)/(?P<split>[A-Za-z]+)_[^/]*\.jpe?g$", re.IGNORECASE
)
_SPLITS_OF_FOLDER = {"train": (Split.TRAINING,), "test": (Split.PUBLIC_TEST, Split.PRIVATE_TEST)}
_CSV_COLUMNS = ("emotion", "pixels", "Usage")


@dataclass(frozen=True)
class Record:
    """One image of the dataset.

    Attributes:
        name: As in `SplitData.names`.
        split: Its split.
        label: FER2013 code.
        image: uint8 (48, 48), raw grey levels.
    """

    name: str
    split: Split
    label: int
    image: npt.NDArray[np.uint8]


def read_records(source: Path) -> Iterator[Record]:
    """Read all images of an edition.

    Args:
        source: The Kaggle archive (.zip), the folder that contains `train/` and `test/`, or `fer2013.csv`.

    Raises:
        TrainingError: The source is of another type, is damaged, or contains unusable images; at the end of the
            iteration, the message lists the unusable images.
    """
    if source.is_dir():
        return _read_folders(source)
    if source.suffix.lower() == ".csv":
        return _read_csv(source)
    if source.suffix.lower() == ".zip":
        return _read_archive(source)
    raise TrainingError(
        f"{source} has an unknown type. Expected a folder, a .zip or a .csv."
        f" Received: a file that ends in {source.suffix!r}"
    )


def _read_archive(source: Path) -> Iterator[Record]:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            yield from _decode_files(source, ((name, archive.read(name)) for name in sorted(members)))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TrainingError(f"{source} is damaged or truncated: {error}. Download it again.") from error


def _read_folders(source: Path) -> Iterator[Record]:
    paths = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise TrainingError(f"{source} is empty. Expected train/<emotion>/*.jpg and test/<emotion>/*.jpg in it.")
    yield from _decode_files(source, ((path.relative_to(source).as_posix(), path.read_bytes()) for path in paths))


def _decode_files(source: Path, files: Iterable[tuple[str, bytes]]) -> Iterator[Record]:
    problems = Problems(source)
    for name, data in files:
        match = _MEMBER.search(name)
        if match is not None:
            record = _parse_file(name, match, data, problems)
            if record is not None:
                yield record
        elif name.lower().endswith((".jpg", ".jpeg", ".png")):
            problems.add(f"{name}: expected (train|test)/<emotion>/(Training|PublicTest|PrivateTest)_<id>.jpg")
    problems.raise_if_any()


def _parse_file(name: str, match: re.Match[str], data: bytes, problems: Problems) -> Record | None:
    folder, label, split_name = match["folder"].lower(), match["label"].lower(), match["split"]
    split = next((split for split in _SPLITS_OF_FOLDER[folder] if split.value == split_name), None)
    if split is None:
        expected = " or ".join(_SPLITS_OF_FOLDER[folder])
        problems.add(f"{name}: a file of {folder}/ belongs to {expected}. Received: {split_name}")
        return None
    if label not in LABELS:
        problems.add(f"{name}: unknown emotion {label!r}; expected one of {', '.join(LABELS)}")
        return None
    image = _decode_jpeg(data)
    if image is None:
        problems.add(f"{name}: not a readable JPEG ({len(data)} bytes)")
        return None
    if image.shape != (CROP_SIZE_PX, CROP_SIZE_PX):
        problems.add(f"{name}: expected 48x48 pixels. Received: {image.shape[1]}x{image.shape[0]}")
        return None
    return Record(match.group(0).lstrip("/"), split, LABELS.index(label), image)


def _decode_jpeg(data: bytes) -> npt.NDArray[np.uint8] | None:
    # The decoder only warns of a file whose end a broken download filled with zeros, and returns a picture with a wrong
    # lower part. So the end marker is checked first.
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)


def _read_csv(source: Path) -> Iterator[Record]:
    try:
        yield from _read_csv_rows(source)
    except (csv.Error, UnicodeDecodeError) as error:
        raise TrainingError(f"{source} is not a readable CSV: {error}. Download it again.") from error


def _read_csv_rows(source: Path) -> Iterator[Record]:
    problems = Problems(source)
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = tuple(name.strip() for name in reader.fieldnames or ())
        if columns != _CSV_COLUMNS:
            raise TrainingError(
                f"{source}: expected the columns {', '.join(_CSV_COLUMNS)}. Received: {', '.join(columns)}"
            )
        reader.fieldnames = list(columns)
        for row in reader:
            record = _parse_csv_row(f"row {reader.line_num:06d}", row, problems)
            if record is not None:
                yield record
    problems.raise_if_any()


def _parse_csv_row(name: str, row: dict[str, str | None], problems: Problems) -> Record | None:
    emotion, usage = row["emotion"], row["Usage"]
    if emotion is None or emotion not in {str(code) for code in range(len(LABELS))}:
        problems.add(f"{name}: expected an emotion code 0 to {len(LABELS) - 1}. Received: {emotion!r}")
        return None
    if usage not in set(Split):
        problems.add(f"{name}: expected Usage to be one of {', '.join(Split)}. Received: {usage!r}")
        return None
    try:
        pixels = np.array((row["pixels"] or "").split(), dtype=np.int64)
    except (ValueError, OverflowError):  # words; whole numbers of more than 64 bits
        problems.add(f"{name}: the pixels are not all whole numbers from 0 to 255")
        return None
    if pixels.size != CROP_SIZE_PX**2:
        problems.add(f"{name}: expected {CROP_SIZE_PX**2} pixels (48x48). Received: {pixels.size}")
        return None
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint8).max:
        problems.add(f"{name}: expected grey levels 0 to 255. Received: {pixels.min()} to {pixels.max()}")
        return None
    return Record(name, Split(usage), int(emotion), pixels.astype(np.uint8).reshape(CROP_SIZE_PX, CROP_SIZE_PX))
