"""Reader of a CSV with the columns `path,label`, and optionally `split` and any further columns."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PureWindowsPath

from training.data.labelled.classes import ClassMap
from training.data.labelled.listing import UnreadableFileError, read_file
from training.data.labelled.references import EXPECTED_SPLITS, Reference, References, split_of
from training.data.labelled.report import BadFile, LoadReport
from training.errors import TrainingError

_FER2013_COLUMNS = ("emotion", "pixels", "usage")
_PATH, _LABEL, _SPLIT = "path", "label", "split"
_DELIMITERS = (",", ";", "\t")
_MAX_HEADER_BYTES = 65_536

Row = dict[str, str]


def is_fer2013_csv(source: Path) -> bool:
    """Return whether the first line of a file is that of `fer2013.csv`."""
    with source.open("rb") as file:
        header = file.readline(_MAX_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    return tuple(cell.strip().lower() for cell in header.split(",")) == _FER2013_COLUMNS


def read_csv(source: Path, classes: ClassMap) -> References:
    """Find the images that a CSV lists.

    Args:
        source: UTF-8, with or without byte-order mark; separated by commas, semicolons or tabs. Paths are absolute or
            relative to the file.
        classes: Map of the labels.

    Raises:
        TrainingError: The file is not a table with these columns, or splits are unknown.
    """
    columns, rows = _open_table(source)
    _check_columns(source, columns)
    bad_files: list[BadFile] = []
    by_path: defaultdict[str, list[tuple[str, Row]]] = defaultdict(list)
    for number, cells in rows:
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        reason = _problem_of(columns, cells, row)
        if reason is None:
            by_path[row[_PATH]].append((f"row {number}", row))
        else:
            bad_files.append(BadFile(f"row {number}", reason))
    if not by_path:
        raise TrainingError(
            f"{source} lists no image. Expected a row with path and label. {LoadReport(tuple(bad_files)).text()}"
        )
    _check_splits(source, [row for rows_of in by_path.values() for _, row in rows_of])
    found = []
    for path, rows_of in by_path.items():
        (first, row), repeats = rows_of[0], rows_of[1:]
        other = next((each for each in repeats if _meaning(each[1], classes) != _meaning(row, classes)), None)
        if other is not None:
            bad_files.append(
                BadFile(path, f"expected one label and split. Received: different ones in {first} and {other[0]}")
            )
            continue
        bad_files += [BadFile(f"{name} ({path})", f"the same path and label are in {first}") for name, _ in repeats]
        found.append(_reference(source, path, row, classes))
    return References(tuple(found), tuple(bad_files))


def _open_table(source: Path) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """Return the column names, and all rows that are not empty with their line numbers."""
    text = _decode(source)
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise TrainingError(f"{source}: line {reader.line_num} is not valid CSV: {error}.") from error
    columns = tuple(_column_name(cell) for cell in (rows[0][1] if rows else []))
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise TrainingError(f"{source}: expected each column once. Received twice: {', '.join(map(repr, repeated))}")
    return columns, rows[1:]


def _decode(source: Path) -> str:
    data = source.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TrainingError(f"{source}: expected UTF-8. Received: UTF-16. Save the table as CSV UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{source}: expected UTF-8. Received: byte {data[error.start]:#04x} at {error.start}, which is not UTF-8."
            " Save the table as CSV UTF-8."
        ) from error


def _column_name(cell: str) -> str:
    name = cell.strip()
    return name.lower() if name.lower() in {_PATH, _LABEL, _SPLIT} else name


def _check_columns(source: Path, columns: Sequence[str]) -> None:
    """Raise `TrainingError` unless the columns contain path and label."""
    missing = [name for name in (_PATH, _LABEL) if name not in columns]
    if missing:
        raise TrainingError(
            f"{source}: expected the columns path,label and optionally split and further columns, separated by commas,"
            f" semicolons or tabs. Received: {', '.join(columns) or 'an empty file'}. Rename the columns in the first"
            " line."
        )


def _problem_of(columns: Sequence[str], cells: Sequence[str], row: Row) -> str | None:
    if len(cells) > len(columns):
        return f"expected {len(columns)} values. Received: {len(cells)}. Quote a value that contains the separator."
    empty = [name for name in (_PATH, _LABEL) if not row.get(name)]
    if empty:
        return f"expected a value in {' and '.join(empty)}. Received: nothing"
    return None


def _check_splits(source: Path, rows: Sequence[Row]) -> None:
    names = [row.get(_SPLIT, "") for row in rows]
    if not any(names):
        return
    unknown = sorted({name for name in names if split_of(name) is None})
    if unknown:
        raise TrainingError(
            f"{source}: expected the splits {EXPECTED_SPLITS}, in every row or in none. Received:"
            f" {', '.join(f'{name!r} ({names.count(name)} rows)' for name in unknown)}"
        )


def _meaning(row: Row, classes: ClassMap) -> tuple[str, object]:
    return classes.class_of(row[_LABEL]), split_of(row.get(_SPLIT, ""))


def _reference(source: Path, path: str, row: Row, classes: ClassMap) -> Reference:
    groups = {name: value for name, value in row.items() if name not in {_PATH, _LABEL, _SPLIT} and name}
    return Reference(
        name=path,
        read=partial(_read_listed, source, path),
        class_name=classes.class_of(row[_LABEL]),
        split=split_of(row.get(_SPLIT, "")),
        groups=groups,
    )


def _read_listed(source: Path, path: str) -> bytes:
    """Read the file of a path, which is absolute or relative to the CSV. Separators of Windows are accepted."""
    try:
        return read_file(source.parent / path)
    except UnreadableFileError:
        if "\\" not in path:
            raise
        return read_file(source.parent / PureWindowsPath(path).as_posix())
