"""Read labelled sets: find the files of each source, decode and crop them, join them, and leave duplicates out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.contract.labels import LABELS
from training.data.labelled.classes import check_classes, normalise
from training.data.labelled.crop_files import crop_files
from training.data.labelled.csv_table import read_csv
from training.data.labelled.dataset import LabelledData, SplitName
from training.data.labelled.face_crops import Cropper, largest_face, whole_image
from training.data.labelled.fer2013_source import as_part, complete_fer2013
from training.data.labelled.folders import read_folders
from training.data.labelled.hash_split import split_by_hash, validation_by_hash
from training.data.labelled.listing import list_archive, list_folder
from training.data.labelled.near_duplicates import count_duplicates_within, describe, duplicates_across_splits
from training.data.labelled.part import Part, joined_data
from training.data.labelled.references import References
from training.data.labelled.report import BadFile, LoadReport
from training.data.labelled.sources import Source
from training.errors import TrainingError

_MANY_DUPLICATES = 0.2  # a share that deserves a note

_FORMS = (
    "Expected FER2013 (.zip, folder or fer2013.csv), a folder or a .zip with <split>/<class>/<image> or"
    " <class>/<image>, or a .csv with the columns path,label"
)


def load_labelled(
    sources: Sequence[Source],
    drop: Collection[str] = (),
    *,
    crop: bool = False,
    strict: bool = False,
    keep_similar: bool = False,
    split_by: str | None = None,
    fer2013_tests: bool = True,
) -> LabelledData:
    """Read and join labelled sets.

    Args:
        sources: At least one; see `parse_sources`.
        drop: Classes to leave out: names or numbers as in the data, or labels.
        crop: Find the largest face of each image with the service's detector. False: each image is one cropped face.
        keep_similar: Leave only identical images out across splits. False: similar ones too.
        split_by: Column of a CSV, such as the person. Where the data states no splits, images with the same value get
            the same split. None: split by the content of each file.
        strict: Raise an error if a file cannot be used. False: leave the file out and report it.
        fer2013_tests: Also read PublicTest and PrivateTest of a complete FER2013. False: read Training only.

    Raises:
        TrainingError: A source has no known layout or no usable image, a class is unknown, or `strict` and a file
            cannot be used.
    """
    paths = [source.path for source in sources]
    repeated = [str(path) for path in paths if paths.count(path) > 1]
    if repeated:
        raise TrainingError(f"expected each --data once. Received twice: {repeated[0]}")
    cropper = largest_face() if crop else whole_image
    parts = [_read_part(source, _dropped(drop, source), cropper, fer2013_tests) for source in sources]
    _check_drop(drop, sources, parts)
    bad_files = tuple(bad for part in parts for bad in part.bad_files)
    if strict and bad_files:
        raise TrainingError(
            f"expected that every file can be used (--strict). Received:\n{LoadReport(bad_files).text()}\n"
            "Repair or remove these files, or leave out --strict."
        )
    if split_by is not None:
        parts = _with_column_hashes(parts, split_by)
    return _without_duplicates(_joined(sources, parts, bad_files, split_by), keep_similar)


def with_validation(data: LabelledData, *, keep_similar: bool = False) -> LabelledData:
    """Return the data with a validation split: 10 % of the training images, by content hash, if it has none.

    Training images that are duplicates of the new validation images are left out.
    """
    if SplitName.VALIDATION in data.splits:
        return data
    splits = validation_by_hash(data.hashes, data.splits)
    note = f"The data has no validation split: {splits.count(SplitName.VALIDATION)} of the training images become it."
    return _without_duplicates(data.with_splits(splits, note), keep_similar)


def _read_part(source: Source, drop: set[str], cropper: Cropper, fer2013_tests: bool) -> Part:
    path, suffix = source.path, source.path.suffix.lower()
    if not path.exists():
        raise TrainingError(f"{path} does not exist. {_FORMS}.")
    official = complete_fer2013(path)
    if official is not None:
        return as_part(official, tests=fer2013_tests).without(drop)
    with ExitStack() as stack:
        if path.is_dir() or suffix == ".zip":
            listing = list_folder(path) if path.is_dir() else list_archive(path, stack)
            return _crop(source, read_folders(path, listing, source.classes), drop, cropper)
        if suffix == ".csv":
            return _crop(source, read_csv(path, source.classes), drop, cropper)
    raise TrainingError(f"{path} has an unknown type. {_FORMS}. Received: a file that ends in {suffix!r}.")


def _dropped(drop: Collection[str], source: Source) -> set[str]:
    """Return the dropped classes as the reader names those of a source: `7` of AffectNet is contempt."""
    return {normalise(name) for name in drop} | {source.classes.class_of(name) for name in drop}


def _check_drop(drop: Collection[str], sources: Sequence[Source], parts: Sequence[Part]) -> None:
    found = {name for part in parts for name in part.classes}
    unknown = [name for name in drop if not any(_dropped([name], source) & found for source in sources)]
    if unknown:
        raise TrainingError(
            f"--drop: expected classes of the data: {', '.join(sorted(found))}. Received: {', '.join(unknown)}"
        )


def _crop(source: Source, references: References, drop: set[str], cropper: Cropper) -> Part:
    """Check the classes, leave the dropped ones out, and read the files."""
    check_classes([each.class_name for each in references.found], source.classes, drop, source.path)
    kept = [each for each in references.found if each.class_name not in drop]
    if not kept:
        raise TrainingError(f"{source.path}: --drop leaves no image. Expected at least one class that stays.")
    part = crop_files(kept, cropper)
    bad_files = (*references.bad_files, *part.bad_files)
    if not len(part.data):
        raise TrainingError(f"{source.path} contains no usable image.\n{LoadReport(bad_files).text()}")
    dropped = len(references.found) - len(kept)
    notes = (f"{source.path}: left out with --drop: {dropped} images.",) if dropped else ()
    found = frozenset(each.class_name for each in references.found)
    return replace(part, bad_files=bad_files, notes=(*part.notes, *notes), classes=found)


def _with_column_hashes(parts: Sequence[Part], column: str) -> list[Part]:
    """Return the parts with hashes of the values of a column in place of the content, where there is a value."""
    columns = list(dict.fromkeys(name for part in parts for name in part.data.groups))
    if column not in columns:
        raise TrainingError(
            f"--split-by: expected a column of the CSV beside path, label and split:"
            f" {', '.join(columns) or 'the data has none'}. Received: {column}"
        )
    return [part.with_column_hashes(column) for part in parts]


def _joined(
    sources: Sequence[Source], parts: Sequence[Part], bad_files: tuple[BadFile, ...], split_by: str | None
) -> LabelledData:
    several = len(parts) > 1
    prefixes = [f"{source.path}: " if several else "" for source in sources]
    data = joined_data(parts, prefixes, [source.weight for source in sources])
    rule = f"80 % train, 10 % validation, 10 % test by {split_by or 'content'} hash"
    splits: list[SplitName] = []
    notes: list[str] = []
    for source, part in zip(sources, parts, strict=True):
        splits += part.splits or split_by_hash(part.hashes, part.data.labels, fill=split_by is None)
        notes += [prefix_note(source.path, note) if several else note for note in part.notes]
        if part.splits is None:
            notes.append(f"{source.path} states no splits: {rule}.")
    missing = [label for label, count in zip(LABELS, data.counts(), strict=True) if not count]
    if missing:
        notes.append(f"Classes with images: {len(LABELS) - len(missing)} of {len(LABELS)}; no {', '.join(missing)}.")
    return LabelledData(
        all=data,
        splits=tuple(splits),
        hashes=np.concatenate([part.hashes for part in parts]),
        stated_splits=any(part.splits is not None for part in parts),
        is_fer2013=any(part.is_fer2013 for part in parts),
        report=LoadReport(bad_files, notes=tuple(notes)),
    )


def prefix_note(path: Path, note: str) -> str:
    """Return a note that names its source."""
    return note if str(path) in note else f"{path}: {note}"


def _without_duplicates(data: LabelledData, keep_similar: bool) -> LabelledData:
    matches = duplicates_across_splits(data.all.images, data.splits)
    if keep_similar:
        matches = [match for match in matches if match.exact]
    kept = np.ones(len(data.all), dtype=np.bool_)
    kept[[match.left_out for match in matches]] = False
    report = replace(
        data.report,
        duplicates=(
            *data.report.duplicates,
            *(describe(match, data.all, data.splits) for match in matches),
        ),
        duplicates_within=count_duplicates_within(data.all.images, data.splits),
    )
    if len(matches) > _MANY_DUPLICATES * len(data.all):
        report = report.with_note(
            f"{len(matches)} of {len(data.all)} images are left out as duplicates across splits. If they are different"
            " pictures, use --keep-similar."
        )
    splits = tuple(split for split, stays in zip(data.splits, kept, strict=True) if stays)
    return replace(data, all=data.all.subset(kept), splits=splits, hashes=data.hashes[kept], report=report)
