"""Results as JSON lines or CSV. Each image is written at once, so that `--resume` can continue an interrupted run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from app.api.schemas.prediction import Prediction
from app.contract.labels import LABELS
from app.domain import ImageResult

_BOX = ("x", "y", "width", "height")
# Error handler that keeps the bytes of file names that are not UTF-8.
FILENAME_ERRORS = "surrogateescape"
CSV_COLUMNS = (
    "path",
    "faces",
    "face",
    *_BOX,
    "detection_confidence",
    "emotion",
    "confidence",
    *LABELS,
    "prediction_set",
)


class ResumeError(Exception):
    """The output to resume has another format. The message says what was expected."""


def json_line(path: Path, result: ImageResult) -> str:
    """Return the JSON line of one image: the response of `POST /predict` with the path of the file."""
    prediction = Prediction.of(result, request_id="")
    fields = prediction.model_dump(mode="json", exclude={"request_id", "timings_ms"})
    # JSON is UTF-8. Escapes keep a name that is not UTF-8 and give the same name when they are read again.
    return json.dumps({"path": str(path)} | fields, ensure_ascii=not _is_utf8(path)) + "\n"


def csv_rows(path: Path, result: ImageResult) -> str:
    """Return one row per face, numbered from 1. An image without faces has one row with 0 faces."""
    faces = Prediction.of(result, request_id="").faces
    rows: list[list[object]] = [[str(path), 0]] if not faces else []
    for number, face in enumerate(faces, start=1):
        box = [getattr(face.box, name) for name in _BOX]
        row = [str(path), len(faces), number, *box, face.detection_confidence, face.emotion, face.confidence]
        rows.append([*row, *face.scores.values(), " ".join(face.prediction_set or ())])
    return _as_csv(row + [""] * (len(CSV_COLUMNS) - len(row)) for row in rows)


def csv_header() -> str:
    """Return the first line of a CSV output."""
    return _as_csv([CSV_COLUMNS])


def resume_json(output: Path) -> set[Path]:
    """Return the images in a JSON output. Remove an incomplete last line from the file.

    Raises:
        ResumeError: The file has another format.
    """
    text = _complete_lines(output)
    try:
        return {Path(json.loads(line)["path"]) for line in text.split("\n")[:-1]}
    except (ValueError, KeyError, TypeError):
        raise ResumeError(f"expected the JSON lines of an earlier run in {output}. Received: another format") from None


def resume_csv(output: Path) -> set[Path]:
    """Return the images in a CSV output. Remove the rows of an incomplete last image from the file.

    Raises:
        ResumeError: The file has another format.
    """
    rows = list(csv.reader(io.StringIO(_complete_lines(output), newline="")))
    if rows and tuple(rows[0]) != CSV_COLUMNS:
        received = ",".join(rows[0])[:100]
        raise ResumeError(f"expected a CSV file with the columns of this command in {output}. Received: {received}")
    if len(rows) > 1 and int(rows[-1][1]) and rows[-1][1] != rows[-1][2]:
        unfinished = rows[-1][0]
        rows = [row for row in rows if row[0] != unfinished]
        output.write_text(_as_csv(rows), encoding="utf-8", errors=FILENAME_ERRORS, newline="")
    return {Path(row[0]) for row in rows[1:]}


def open_output(output: Path, append: bool) -> TextIO:
    """Open a file for results in UTF-8. File names that are not UTF-8 keep their bytes."""
    return output.open("a" if append else "w", encoding="utf-8", errors=FILENAME_ERRORS, newline="")


def _complete_lines(output: Path) -> str:
    """Return the text of a file up to its last line end. Remove an incomplete last line from the file."""
    if not output.exists():
        return ""
    data = output.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]
    if complete != data:
        output.write_bytes(complete)
    return complete.decode("utf-8", FILENAME_ERRORS)


def _as_csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
