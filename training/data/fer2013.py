"""Reads FER2013, checks it, and hands out its three official splits as arrays.

Three editions are read: Kaggle's archive of folders, those folders unpacked, and the older `fer2013.csv`. The decoded
arrays are cached outside the repository. Nothing here augments, shuffles or knows of Keras.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from app.contract.labels import LABELS
from app.contract.preprocess import CROP_SIZE_PX
from training.errors import TrainingError


class Split(StrEnum):
    """The official splits, under the names of the `Usage` column."""

    TRAINING = "Training"
    PUBLIC_TEST = "PublicTest"  # validation: every choice is made here
    PRIVATE_TEST = "PrivateTest"  # test: opened once, for a model that is final


# Images per label in FER2013 code order (angry, disgust, fear, happy, sad, surprise, neutral): 35,887 in all.
# Source: Goodfellow et al. 2013, icml_face_data; the same in all three editions.
EXPECTED_COUNTS: Mapping[Split, tuple[int, ...]] = {
    Split.TRAINING: (3995, 436, 4097, 7215, 4830, 3171, 4965),
    Split.PUBLIC_TEST: (467, 56, 496, 895, 653, 415, 607),
    Split.PRIVATE_TEST: (491, 55, 528, 879, 594, 416, 626),
}

_CACHE_FORMAT = "1"  # raise it when the meaning of the cached arrays changes
_PROBLEMS_SHOWN = 10
_MEMBER = re.compile(
    r"(?:^|/)(?P<folder>train|test)/(?P<label>[^/]+)/(?P<split>[A-Za-z]+)_[^/]*\.jpe?g$", re.IGNORECASE
)
_SPLITS_OF_FOLDER = {"train": (Split.TRAINING,), "test": (Split.PUBLIC_TEST, Split.PRIVATE_TEST)}
_CSV_COLUMNS = ("emotion", "pixels", "Usage")


@dataclass(frozen=True)
class SplitData:
    """One split.

    Attributes:
        images: uint8 (N, 48, 48, 1), raw grey levels 0 to 255.
        labels: int64 (N,), FER2013 codes: indices into `LABELS`.
        names: N names, unique, sorted: `train/happy/Training_1.jpg` (the id alone is not unique), or
            `row 000017` of the CSV.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def counts(self) -> tuple[int, ...]:
        """Images per label, in FER2013 code order."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=len(LABELS)))


@dataclass(frozen=True)
class Fer2013:
    """The dataset: its splits, and the sha256 of every name, label and pixel in order."""

    splits: Mapping[Split, SplitData]
    sha256: str

    def __getitem__(self, split: Split) -> SplitData:
        return self.splits[split]


@dataclass(frozen=True)
class _Record:
    name: str
    split: Split
    label: int
    image: npt.NDArray[np.uint8]


class _Problems:
    """Collects what is wrong with a dataset, so that one run tells everything."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        self._found.append(problem)

    def raise_if_any(self) -> None:
        if not self._found:
            return
        shown = "\n  - ".join(self._found[:_PROBLEMS_SHOWN])
        more = len(self._found) - _PROBLEMS_SHOWN
        rest = f"\n  ... and {more} more" if more > 0 else ""
        raise TrainingError(f"{self._source} is not a usable FER2013:\n  - {shown}{rest}")


def default_cache_dir() -> Path:
    """The user's cache folder: `$XDG_CACHE_HOME/fer-serve`, by default `~/.cache/fer-serve`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fer-serve"


def load_fer2013(source: Path, *, cache_dir: Path | None = None, allow_incomplete: bool = False) -> Fer2013:
    """Reads, checks and caches FER2013.

    Args:
        source: The Kaggle archive (.zip), the folder that holds `train/` and `test/`, or `fer2013.csv`.
        cache_dir: Where the decoded arrays are kept; None for `default_cache_dir()`.
        allow_incomplete: Accept other counts than the official ones (samples, smoke tests).

    Raises:
        TrainingError: The source is missing, truncated, mislabelled or of the wrong size. The message lists what.
    """
    if not source.exists():
        raise TrainingError(
            f"{source} does not exist. Expected FER2013 as Kaggle's archive (.zip), as the unpacked folder with"
            " train/ and test/, or as fer2013.csv."
        )
    cache = (cache_dir or default_cache_dir()) / f"fer2013-{_cache_key(source)}.npz"
    dataset = _read_cache(cache)
    if dataset is None:
        dataset = _assemble(source, _read(source))
        _write_cache(cache, dataset)
    if not allow_incomplete:
        _check_counts(source, dataset)
    return dataset


def _read(source: Path) -> Iterator[_Record]:
    if source.is_dir():
        return _read_folders(source)
    if source.suffix.lower() == ".csv":
        return _read_csv(source)
    if source.suffix.lower() == ".zip":
        return _read_archive(source)
    raise TrainingError(f"{source} is none of: a folder, a .zip, a .csv. Received: a file ending in {source.suffix!r}")


def _read_archive(source: Path) -> Iterator[_Record]:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            yield from _decode_files(source, ((name, archive.read(name)) for name in sorted(members)))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TrainingError(f"{source} is damaged or truncated: {error}. Download it again.") from error


def _read_folders(source: Path) -> Iterator[_Record]:
    paths = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise TrainingError(f"{source} is empty. Expected train/<emotion>/*.jpg and test/<emotion>/*.jpg in it.")
    yield from _decode_files(source, ((path.relative_to(source).as_posix(), path.read_bytes()) for path in paths))


def _decode_files(source: Path, files: Iterable[tuple[str, bytes]]) -> Iterator[_Record]:
    problems = _Problems(source)
    for name, data in files:
        match = _MEMBER.search(name)
        if match is None:
            if name.lower().endswith((".jpg", ".jpeg", ".png")):
                problems.add(f"{name}: expected (train|test)/<emotion>/(Training|PublicTest|PrivateTest)_<id>.jpg")
            continue
        folder, label, split_name = match["folder"].lower(), match["label"].lower(), match["split"]
        split = next((split for split in _SPLITS_OF_FOLDER[folder] if split.value == split_name), None)
        if split is None:
            expected = " or ".join(_SPLITS_OF_FOLDER[folder])
            problems.add(f"{name}: a file of {folder}/ belongs to {expected}. Received: {split_name}")
        elif label not in LABELS:
            problems.add(f"{name}: unknown emotion {label!r}; expected one of {', '.join(LABELS)}")
        else:
            image = _decode_jpeg(data)
            if image is None:
                problems.add(f"{name}: not a readable JPEG ({len(data)} bytes)")
            elif image.shape != (CROP_SIZE_PX, CROP_SIZE_PX):
                problems.add(f"{name}: expected 48x48 pixels. Received: {image.shape[1]}x{image.shape[0]}")
            else:
                yield _Record(match.group(0).lstrip("/"), split, LABELS.index(label), image)
    problems.raise_if_any()


def _decode_jpeg(data: bytes) -> npt.NDArray[np.uint8] | None:
    # A file whose tail a broken download left as zeros decodes, with a wrong lower part and a warning only, so its end
    # marker is looked for first.
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)


def _read_csv(source: Path) -> Iterator[_Record]:
    try:
        yield from _read_csv_rows(source)
    except (csv.Error, UnicodeDecodeError) as error:
        raise TrainingError(f"{source} is not a readable CSV: {error}. Download it again.") from error


def _read_csv_rows(source: Path) -> Iterator[_Record]:
    problems = _Problems(source)
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = tuple(name.strip() for name in reader.fieldnames or ())
        if columns != _CSV_COLUMNS:
            raise TrainingError(
                f"{source}: expected the columns {', '.join(_CSV_COLUMNS)}. Received: {', '.join(columns)}"
            )
        reader.fieldnames = list(columns)
        for row in reader:
            name = f"row {reader.line_num:06d}"
            record = _parse_csv_row(name, row, problems)
            if record is not None:
                yield record
    problems.raise_if_any()


def _parse_csv_row(name: str, row: dict[str, str | None], problems: _Problems) -> _Record | None:
    emotion, usage = row["emotion"], row["Usage"]
    if emotion not in {str(code) for code in range(len(LABELS))}:
        problems.add(f"{name}: expected an emotion code 0 to {len(LABELS) - 1}. Received: {emotion!r}")
        return None
    if usage not in set(Split):
        problems.add(f"{name}: expected Usage to be one of {', '.join(Split)}. Received: {usage!r}")
        return None
    try:
        pixels = np.array((row["pixels"] or "").split(), dtype=np.int64)
    except (ValueError, OverflowError):  # words; whole numbers that no 64 bits hold
        problems.add(f"{name}: the pixels are not all whole numbers from 0 to 255")
        return None
    if pixels.size != CROP_SIZE_PX**2:
        problems.add(f"{name}: expected {CROP_SIZE_PX**2} pixels (48x48). Received: {pixels.size}")
        return None
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint8).max:
        problems.add(f"{name}: expected grey levels 0 to 255. Received: {pixels.min()} to {pixels.max()}")
        return None
    return _Record(name, Split(usage), int(emotion), pixels.astype(np.uint8).reshape(CROP_SIZE_PX, CROP_SIZE_PX))


def _assemble(source: Path, records: Iterator[_Record]) -> Fer2013:
    by_split: dict[Split, list[_Record]] = {split: [] for split in Split}
    for record in records:
        by_split[record.split].append(record)
    problems = _Problems(source)
    digest = hashlib.sha256()
    splits: dict[Split, SplitData] = {}
    for split, members in by_split.items():
        if not members:
            problems.add(f"no image of {split}")
            continue
        members.sort(key=lambda record: record.name)
        for name, times in Counter(record.name for record in members).items():
            if times > 1:
                problems.add(f"{name} stands {times} times in {split}")
        splits[split] = SplitData(
            images=np.stack([record.image for record in members])[..., np.newaxis],
            labels=np.array([record.label for record in members], dtype=np.int64),
            names=tuple(record.name for record in members),
        )
        digest.update("\n".join(splits[split].names).encode())
        digest.update(splits[split].labels.astype("<i8").tobytes())
        digest.update(splits[split].images.tobytes())
    problems.raise_if_any()
    return Fer2013(splits, digest.hexdigest())


def _check_counts(source: Path, dataset: Fer2013) -> None:
    problems = _Problems(source)
    for split, expected in EXPECTED_COUNTS.items():
        for label, wanted, found in zip(LABELS, expected, dataset[split].counts(), strict=True):
            if wanted != found:
                problems.add(f"{split}: expected {wanted} {label}. Received: {found}")
    problems.raise_if_any()


def _cache_key(source: Path) -> str:
    """Names the source's state by path, sizes and times, without reading its content."""
    digest = hashlib.sha256(f"{_CACHE_FORMAT}:{source.resolve()}".encode())
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name}:{status.st_size}:{status.st_mtime_ns};".encode())
    return digest.hexdigest()[:16]


def _read_cache(cache: Path) -> Fer2013 | None:
    try:
        # Opened here, because numpy leaves a file open that turns out to be damaged.
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            splits = {
                split: SplitData(
                    arrays[f"{split}_images"], arrays[f"{split}_labels"], tuple(arrays[f"{split}_names"].tolist())
                )
                for split in Split
            }
            return Fer2013(splits, str(arrays["sha256"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent, or cut short by a full disk: it is only a cache, read the source again


def _write_cache(cache: Path, dataset: Fer2013) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[np.generic]] = {"sha256": np.array(dataset.sha256)}
    for split, data in dataset.splits.items():
        arrays[f"{split}_images"] = data.images
        arrays[f"{split}_labels"] = data.labels
        arrays[f"{split}_names"] = np.array(data.names)
    unfinished = cache.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes no mapping of arrays here
    unfinished.replace(cache)
