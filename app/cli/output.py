"""Results as JSON lines or CSV, written image by image, so that a run that was cut short can be resumed."""

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
# How Python holds the bytes of a file's name that are no UTF-8, and how they become the same bytes again.
NAMES_AS_THEY_ARE = "surrogateescape"
CSV_COLUMNS = ("path", "faces", "face", *_BOX, "detection_confidence", "emotion", "confidence", *LABELS)


class ResumeError(Exception):
    """The output that should be continued is none of this format. The message says so."""


def json_line(path: Path, result: ImageResult) -> str:
    """One line for one image: as `POST /predict` answers, with the file's path."""
    prediction = Prediction.of(result, request_id="")
    fields = prediction.model_dump(mode="json", exclude={"request_id", "timings_ms"})
    # A name that is no UTF-8 can be written as escapes only, which stand for the same name when they are read again.
    return json.dumps({"path": str(path)} | fields, ensure_ascii=not _is_utf8(path)) + "\n"


def csv_rows(path: Path, result: ImageResult) -> str:
    """One row for each face, numbered from 1; an image without faces has one row that says 0."""
    faces = Prediction.of(result, request_id="").faces
    rows: list[list[object]] = [[str(path), 0]] if not faces else []
    for number, face in enumerate(faces, start=1):
        box = [getattr(face.box, name) for name in _BOX]
        row = [str(path), len(faces), number, *box, face.detection_confidence, face.emotion, face.confidence]
        rows.append([*row, *face.scores.values()])
    return _as_csv(row + [""] * (len(CSV_COLUMNS) - len(row)) for row in rows)


def csv_header() -> str:
    """The first line of a CSV output."""
    return _as_csv([CSV_COLUMNS])


def resume_json(output: Path) -> set[Path]:
    """The images that a JSON output already has. A last line that was cut short is removed from the file.

    Raises:
        ResumeError: It holds something else.
    """
    text = _whole_lines(output)
    try:
        return {Path(json.loads(line)["path"]) for line in text.split("\n")[:-1]}
    except (ValueError, KeyError, TypeError):
        raise ResumeError(f"{output} is not JSON lines as this command writes them") from None


def resume_csv(output: Path) -> set[Path]:
    """The images that a CSV output already has whole. Rows of an image that was cut short are removed from the file.

    Raises:
        ResumeError: It holds something else.
    """
    rows = list(csv.reader(io.StringIO(_whole_lines(output), newline="")))
    if rows and tuple(rows[0]) != CSV_COLUMNS:
        raise ResumeError(f"{output} has not the columns that this command writes")
    if len(rows) > 1 and int(rows[-1][1]) and rows[-1][1] != rows[-1][2]:
        unfinished = rows[-1][0]
        rows = [row for row in rows if row[0] != unfinished]
        output.write_text(_as_csv(rows), encoding="utf-8", errors=NAMES_AS_THEY_ARE, newline="")
    return {Path(row[0]) for row in rows[1:]}


def open_output(output: Path, append: bool) -> TextIO:
    """Opens a file for results, in UTF-8; names of files that are none are written as they are."""
    return output.open("a" if append else "w", encoding="utf-8", errors=NAMES_AS_THEY_ARE, newline="")


def _whole_lines(output: Path) -> str:
    """The file's text up to its last line end; what follows was being written when the run ended, and is cut off."""
    if not output.exists():
        return ""
    data = output.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        output.write_bytes(whole)
    return whole.decode("utf-8", NAMES_AS_THEY_ARE)


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
